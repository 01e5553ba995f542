"""The passes of a source over a target, as set in the config of `score`."""

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
    """Passes through the source's network, as set in the config of the command.

    Attributes:
        cfg: config of the command.
        store: store of sources that this project pre-trained.
        target: target task.
        folder: folder for data that do not fit in memory.
    """

    cfg: DictConfig
    store: Store
    target: Task
    folder: Path

    def __call__(self, cases: Iterable[Case], requests: Sequence[Request], *, classes: int, name: str) -> Statistics:
        """Stream cases of k classes once; `name` is the name of the pass."""
        cfg = self.cfg
        model = self._model if name == "source" else self.pair.model  # its own data match its input channels
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
        """The source adapted to the target.

        Raises:
            SkipPair: if they cannot be paired.
        """
        return paired(self._model, self.target, **resolved(self.cfg.preparation))

    def labelled(self) -> Sequence[Case]:
        """The target's labelled cases, prepared for this source."""
        count = self.cfg.stream.cases
        if count is not None and count < 1:
            raise InputError(f"stream.cases must be positive or null, got {count}")
        return self.target.cases("train", self.pair.preparation)[:count]

    def further(self) -> dict[str, Callable[[], PassCases]]:
        """Functions that find the cases of the extra passes, by name of the pass."""
        passes = self.cfg.passes
        return {
            "source": lambda: own_cases(self._source(), self._model.preparation, passes.source.cases),
            "perturbed": lambda: PassCases(instantiate(passes.perturbed)(self.labelled()), self.target.classes),
        }

    def _source(self) -> object:
        """Instantiate the source; its training data are prepared first if they are missing."""
        if self.cfg.source.get("task"):
            prepared(self.cfg.source.task, self.cfg.data_dir)
        return instantiate(self.cfg.source)

    @cached_property
    def _model(self) -> Model:
        return open_source(self.cfg.source, self.store, Path(self.cfg.output_dir))
