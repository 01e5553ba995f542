"""The passes of one source over a target, as the config of `score` asks for them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmark.data.files.case import Case
from benchmark.data.tasks.prepared import prepared
from benchmark.data.tasks.task import Task
from benchmark.errors import InputError
from benchmark.features.stream import reduce_stream
from benchmark.jobs.cli import resolved
from benchmark.scoring.extra_passes import PassCases, own_cases
from benchmark.sources.model import Model
from benchmark.sources.opening import open_source
from benchmark.sources.pairing import Pair, paired
from benchmark.statistics import Request, Statistics
from benchmark.tracking import Store


@dataclass(frozen=True)
class TargetPass:
    """Passes through the source's network, as the command's config asks for them.

    Attributes:
        cfg: The command's config.
        store: Where a source that is pre-trained here lies.
        target: The target.
        folder: For what a pass does not keep in memory.
    """

    cfg: DictConfig
    store: Store
    target: Task
    folder: Path

    def __call__(self, cases: Iterable[Case], requests: Sequence[Request], *, classes: int, name: str) -> Statistics:
        """Stream cases of k classes once; `name` is the pass's."""
        cfg = self.cfg
        model = self._model if name == "source" else self.pair.model  # its own data have its own channels
        return reduce_stream(
            model.network(device=cfg.device.name),
            model.arch.taps,
            cases,
            requests,
            patch_size=model.arch.fit(cfg.stream.window),
            overlap=cfg.stream.overlap,
            batch=cfg.stream.batch,
            windows=cfg.stream.windows,
            classes=classes,
            device=cfg.device.name,
            amp=getattr(torch, cfg.device.amp) if cfg.device.amp else None,
            head=model.head,
            folder=self.folder / "spill" / name,
        )

    @cached_property
    def pair(self) -> Pair:
        """The source as it meets the target.

        Raises:
            SkipPair: They cannot be paired.
        """
        return paired(self._model, self.target, **resolved(self.cfg.preparation))

    def labelled(self) -> Sequence[Case]:
        """The target's labelled cases, prepared for this source."""
        count = self.cfg.stream.cases
        if count is not None and count < 1:
            raise InputError(f"stream.cases must be positive or null, got {count}")
        return self.target.cases("train", self.pair.preparation)[:count]

    def further(self) -> dict[str, Callable[[], PassCases]]:
        """By name of a further pass, what finds the cases that it goes over."""
        passes = self.cfg.passes
        return {
            "source": lambda: own_cases(self._source(), self._model.preparation, passes.source.cases),
            "perturbed": lambda: PassCases(instantiate(passes.perturbed)(self.labelled()), self.target.classes),
        }

    def _source(self) -> object:
        """The source; the data that it was trained on are made where they are not on this machine."""
        if self.cfg.source.get("task"):
            prepared(self.cfg.source.task, self.cfg.data_dir)
        return instantiate(self.cfg.source)

    @cached_property
    def _model(self) -> Model:
        return open_source(self.cfg.source, self.store, Path(self.cfg.output_dir))
