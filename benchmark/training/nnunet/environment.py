"""Where nnU-Net works: its three folders, its environment variables and its seeds, set around its calls alone."""

import contextlib
import hashlib
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

FOLDERS = ("raw", "preprocessed", "results")


@dataclass(frozen=True)
class NnunetSpace:
    """A folder that holds everything that nnU-Net writes.

    Attributes:
        root: The folder.
        processes: Processes that plan, preprocess and export predictions.
        augment_processes: Processes that augment batches; 0 augments in this one, and only then do equal seeds give
            equal batches.
    """

    root: Path
    processes: int = 1
    augment_processes: int = 0

    @property
    def raw(self) -> Path:
        """Raw datasets."""
        return self.root / "raw"

    @property
    def preprocessed(self) -> Path:
        """Fingerprints, plans, preprocessed cases."""
        return self.root / "preprocessed"

    @contextlib.contextmanager
    def entered(self, log: Path, *, results: Path | None = None) -> Iterator[None]:
        """A block in which nnU-Net finds its folders, and what it prints goes to a file.

        Args:
            log: The file; appended to.
            results: Where trained models go; `results` of the root by default.
        """
        places = dict(zip(FOLDERS, (self.raw, self.preprocessed, results or self.root / "results"), strict=True))
        for folder in (*places.values(), log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        variables = {f"nnUNet_{name}": str(folder.resolve()) for name, folder in places.items()}
        variables |= {
            "nnUNet_def_n_proc": str(self.processes),
            "nnUNet_n_proc_DA": str(self.augment_processes),
            "nnUNet_compile": "f",  # seconds of compilation for each source, and other rounding on each machine
            "nnUNet_wandb_enabled": "0",
        }
        with (
            log.open("a", encoding="utf-8") as stream,
            _environment(variables),
            contextlib.redirect_stdout(stream),
            contextlib.redirect_stderr(stream),
            self._workers(),
        ):
            yield

    @contextlib.contextmanager
    def _workers(self) -> Iterator[None]:
        """nnU-Net reads nnUNet_def_n_proc once, when it is first imported, which may be long ago."""
        from nnunetv2.training.nnUNetTrainer import nnUNetTrainer

        before = nnUNetTrainer.default_num_processes
        nnUNetTrainer.default_num_processes = self.processes
        try:
            yield
        finally:
            nnUNetTrainer.default_num_processes = before


@contextlib.contextmanager
def planning() -> Iterator[None]:
    """A block in which nnU-Net plans: it sets torch's threads to the augmenting processes, which must not be 0."""
    with _environment({"nnUNet_n_proc_DA": "1"}):
        yield


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[Callable[[int], None]]:
    """A block with seeded generators of torch, numpy and Python, which nnU-Net draws from; afterwards as before.

    Yields:
        What seeds them anew within the block, for an epoch.
    """
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002 - nnU-Net draws from it
    with torch.random.fork_rng():

        def seed_all(drawn: int) -> None:
            torch.manual_seed(drawn)
            np.random.seed(drawn)  # noqa: NPY002
            random.seed(drawn)

        def seed_epoch(epoch: int) -> None:
            seed_all(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))

        seed_all(seed)
        try:
            yield seed_epoch
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)


def short_hash(content: str) -> str:
    """Eight hexadecimal digits that stand for a content in a folder's name."""
    return hashlib.sha256(content.encode()).hexdigest()[:8]


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
