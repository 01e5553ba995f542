"""nnU-Net's folders, environment variables and seeds, set only during calls of nnU-Net."""

import contextlib
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmark.storage.digest import text_digest

FOLDERS = ("raw", "preprocessed", "results")


@dataclass(frozen=True)
class NnunetSpace:
    """The folder of everything that nnU-Net writes.

    Attributes:
        root: The folder.
        processes: Number of processes for planning, preprocessing and export.
        augment_processes: Number of processes for augmentation; with 0 batches are augmented in this process, and only
            then do equal seeds give equal batches.
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
        """Run the block with nnU-Net's environment, and write its output to a log file.

        Args:
            log: The log file, which is appended to.
            results: Folder of trained models; by default `results` in the root.
        """
        places = dict(zip(FOLDERS, (self.raw, self.preprocessed, results or self.root / "results"), strict=True))
        for folder in (*places.values(), log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        variables = {f"nnUNet_{name}": str(folder.resolve()) for name, folder in places.items()}
        variables |= {
            "nnUNet_def_n_proc": str(self.processes),
            "nnUNet_n_proc_DA": str(self.augment_processes),
            "nnUNet_compile": "f",  # compilation takes seconds per source and rounds differently on each machine
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
        """Set nnU-Net's number of processes, which it reads from nnUNet_def_n_proc only on first import."""
        from nnunetv2.training.nnUNetTrainer import nnUNetTrainer

        before = nnUNetTrainer.default_num_processes
        nnUNetTrainer.default_num_processes = self.processes
        try:
            yield
        finally:
            nnUNetTrainer.default_num_processes = before


@contextlib.contextmanager
def planning() -> Iterator[None]:
    """Run the block with one augmentation process: nnU-Net's planner uses the number for torch's threads."""
    with _environment({"nnUNet_n_proc_DA": "1"}):
        yield


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[Callable[[int], None]]:
    """Seed the generators of torch, numpy and Python for the block, and restore them afterwards.

    Yields:
        A function that seeds them for an epoch.
    """
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002 - nnU-Net uses it
    with torch.random.fork_rng():

        def seed_all(value: int) -> None:
            torch.manual_seed(value)
            np.random.seed(value)  # noqa: NPY002
            random.seed(value)

        def seed_epoch(epoch: int) -> None:
            seed_all(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))

        seed_all(seed)
        try:
            yield seed_epoch
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)


def short_hash(content: str) -> str:
    """First eight hexadecimal digits of the SHA-256 of a text, for the names of folders."""
    return text_digest(content)[:8]


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
