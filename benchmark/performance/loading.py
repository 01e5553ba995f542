"""Rows on training data: batches a second against other loaders, the first batch of a resumed training, and memory."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from typing import Any, Literal, TypeAlias

import psutil
import torch
from monai.transforms import Compose, RandCropByPosNegLabeld, SpatialPadd
from numpy.random import RandomState
from torch.utils.data import default_collate

from benchmark.core.labels import IGNORED
from benchmark.data.files.cases import Case
from benchmark.data.prepared.cases import Cases
from benchmark.performance.loading_data import RealSizeCases, repeated, write_for_nnunet
from benchmark.performance.measurement import Check, Measurement, TimedRow, in_fresh_process
from benchmark.sources.pretrained import Budget
from benchmark.training.patches import PatchTransform, batches

Loader: TypeAlias = Callable[[], object]  # reads the next batch
ENDLESS = 10**9  # steps
CACHED = 6  # batches that nnU-Net's loader reads ahead, as its trainer sets
MEGABYTE = 2**20


@dataclass(frozen=True, kw_only=True)
class TrainLoader(TimedRow):
    """Batches a second of our loader, over those of another that reads the same cases.

    Batches are timed after one pass over the cases, so that all files are in the page cache.

    Attributes:
        size: the cases.
        patch: voxels of a patch along each axis.
        batch: patches per batch.
        workers: worker processes of our loader, and of nnU-Net's.
        augment: whether our transforms are applied, in both.
        reference: `nnunet`, its loader; `memory`, MONAI's crop from whole volumes in memory, in this process.
        timed: batches per timed run of ours.
        timed_reference: the same for the reference.
        nnunet_augmentation: whether nnU-Net's loader with all of its own augmentation is timed for the details.
    """

    rule = "at least"
    size: RealSizeCases
    patch: tuple[int, int, int]
    batch: int
    workers: int
    augment: bool
    reference: Literal["nnunet", "memory"]
    timed: int
    timed_reference: int
    nnunet_augmentation: bool = False

    def measure(self, device: str) -> Measurement:
        """Time both loaders in alternation, on the CPU; `device` is ignored."""
        cases = self.size.stored()
        budget = Budget(steps=ENDLESS, batch=self.batch, patch=self.patch, augment=self.augment)
        stream = batches(cases, budget=budget, seed=0, workers=self.workers)
        with self._other(cases, budget) as other:
            for loader in (lambda: next(stream), other):
                _read(loader, len(cases))
            timed = self._time(
                lambda: _read(lambda: next(stream), self.timed), lambda: _read(other, self.timed_reference), "cpu"
            )
        details = {}
        if self.nnunet_augmentation:
            transform = nnunet_augmentation(self.patch)
            with nnunet_loader(cases, self.patch, self.batch, self.workers, transform) as other:
                _read(other, len(cases))
                augmented = self._time(lambda: None, lambda: _read(other, self.timed_reference), "cpu")
            details["nnunet_augmentation_batches_a_second"] = self.timed_reference / augmented.reference
        details["batches_a_second"] = self.timed / timed.ours
        return self._measurement(
            replace(timed, reference=timed.reference * self.timed / self.timed_reference),
            "cpu",
            checks={},
            details=details,
        )

    @contextmanager
    def _other(self, cases: Cases, budget: Budget) -> Iterator[Loader]:
        if self.reference == "memory":
            yield crops_in_memory(list(cases), budget)
            return
        transform = _NnunetKeys(PatchTransform(budget)) if self.augment else None
        with nnunet_loader(cases, self.patch, self.batch, self.workers, transform) as loader:
            yield loader


@dataclass(frozen=True, kw_only=True)
class ResumeStart(TimedRow):
    """Seconds until the first batch of a training resumed at a late step, over those at an early step.

    Attributes:
        size: the cases.
        patch: voxels of a patch along each axis.
        batch: patches per batch.
        workers: worker processes.
        late: the late step.
        early: the early step.
    """

    rule = "at most"
    size: RealSizeCases
    patch: tuple[int, int, int]
    batch: int
    workers: int
    late: int
    early: int

    def measure(self, device: str) -> Measurement:
        """Time both in alternation, on the CPU; `device` is ignored."""
        cases = self.size.stored()
        budget = Budget(steps=ENDLESS, batch=self.batch, patch=self.patch)

        def first(step: int) -> None:
            stream = batches(cases, budget=budget, seed=0, start=step, workers=self.workers)
            next(iter(stream))

        first(self.early)
        timed = self._time(lambda: first(self.late), lambda: first(self.early), "cpu")
        return self._measurement(timed, "cpu", checks={})


@dataclass(frozen=True)
class TrainMemory:
    """Private memory of a process that reads training batches and of its workers, with many cases over that with few.

    Attributes:
        size: the few cases.
        many: number of cases that they are repeated to.
        patch: voxels of a patch along each axis.
        batch: patches per batch.
        workers: worker processes.
        timed: batches that are read.
        megabytes: maximum memory with many cases.
        bound: maximum ratio.
    """

    size: RealSizeCases
    many: int
    patch: tuple[int, int, int]
    batch: int
    workers: int
    timed: int
    megabytes: float
    bound: float

    def measure(self, device: str) -> Measurement:
        """Compare the peaks of two fresh processes, which read on the CPU; `device` is ignored."""
        few = self.size.stored()
        budget = Budget(steps=self.timed, batch=self.batch, patch=self.patch)
        many_peak, few_peak = (
            in_fresh_process(private_memory_of_reading, cases, budget, self.workers)
            for cases in (repeated(few, self.many), few)
        )
        checks = {"megabytes": Check(many_peak, self.megabytes)}
        return Measurement(many_peak, few_peak, "at most", self.bound, "cpu", unit="MB", checks=checks)


def private_memory_of_reading(cases: Cases, budget: Budget, workers: int) -> float:
    """The largest private memory (USS), in MB, of this process and its children while it reads batches from disk."""
    process, peak = psutil.Process(), 0.0
    for _ in batches(cases, budget=budget, seed=0, workers=workers):
        family = [process, *process.children(recursive=True)]
        peak = max(peak, sum(member.memory_full_info().uss for member in family) / MEGABYTE)
    return peak


def crops_in_memory(cases: Sequence[Case], budget: Budget) -> Loader:
    """A loader that crops with MONAI from whole volumes in memory, which are searched for foreground for each patch."""
    padding = SpatialPadd(["image", "labels", "centres"], budget.patch)
    crop = RandCropByPosNegLabeld(["image", "labels"], "centres", budget.patch, pos=1, neg=1, num_samples=1)
    whole, augment, order, random = Compose([padding, crop]), PatchTransform(budget), cycle(cases), RandomState(0)

    def load() -> object:
        items = [next(order) for _ in range(budget.batch)]
        crops = [whole(_with_centres(item))[0] for item in items]
        patches = [augment({name: crop[name].as_tensor() for name in ("image", "labels")}, random) for crop in crops]
        return default_collate(patches)

    return load


def _with_centres(case: Case) -> dict[str, torch.Tensor]:
    labels = case.labels[None]
    return {"image": case.image, "labels": labels, "centres": torch.where(labels == IGNORED, 0, labels)}


@contextmanager
def nnunet_loader(
    cases: Cases, patch: tuple[int, int, int], batch: int, workers: int, transform: Callable[..., Any] | None
) -> Iterator[Loader]:
    """nnU-Net's loader over the cases, as its trainer starts it, with every second patch on foreground."""
    from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    with tempfile.TemporaryDirectory() as folder:
        write_for_nnunet(cases, Path(folder), patch)
        labels = LabelManager({"background": 0, "organ": 1}, None)
        dataset = nnUNetDatasetBlosc2(folder)
        loader = nnUNetDataLoader(dataset, batch, patch, patch, labels, 0.5, None, None, transforms=transform)
        stream = NonDetMultiThreadedAugmenter(loader, None, workers, num_cached=CACHED, wait_time=0.002)
        try:
            yield lambda: next(stream)
        finally:
            stream._finish()


def nnunet_augmentation(patch: tuple[int, int, int]) -> Callable[..., Any]:
    """nnU-Net's own augmentation of 3D patches."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    transforms: Callable[..., Any] = nnUNetTrainer.get_training_transforms(
        patch, (-0.5236, 0.5236), None, mirror_axes=(0, 1, 2), do_dummy_2d_data_aug=False
    )
    return transforms


@dataclass(frozen=True)
class _NnunetKeys:
    """Our transforms, called as nnU-Net's loader calls its own."""

    transform: PatchTransform
    random: RandomState = field(default_factory=RandomState)

    def __call__(self, *, image: torch.Tensor, segmentation: torch.Tensor) -> dict[str, torch.Tensor]:
        done = self.transform({"image": image, "labels": segmentation}, self.random)
        return {"image": done["image"], "segmentation": done["labels"]}


def _read(loader: Loader, count: int) -> None:
    for _ in range(count):
        loader()
