"""Batches of random patches: each sample is a function of the seed, the step and its place in the batch.

So a training sees the same patches with any number of worker processes, and a resumed training draws nothing before the
step that it starts at. Half of the patches are centred on a foreground voxel and half on the background, as in MONAI's
RandCropByPosNegLabel; the centres are drawn from positions that are stored with the case, and only the patch is read.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import torch
from monai.data import get_track_meta, set_track_meta
from monai.transforms import RandFlipd, RandScaleIntensityd, RandShiftIntensityd, SpatialPadd
from monai.transforms.utils import correct_crop_centers
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from benchmark.core.labels import IGNORED
from benchmark.data.files.cases import Box, BoxReader, Case
from benchmark.data.prepared.cases import Cases
from benchmark.errors import InputError, one_line
from benchmark.sources.pretrained import Budget
from benchmark.storage.prepared_settings import prepared_settings

POSITIVE = 0.5  # share of the patches whose centre is a foreground voxel
MOST_WORKERS = 4
AHEAD = 3  # batches that each worker reads ahead
IMAGE, LABELS = "image", "labels"

Sample = dict[str, Tensor]


class Patches(Dataset[Sample | InputError]):
    """The samples of a training in their order: number step * batch + place in the batch.

    Cases come in a random order, each once before one comes again.

    Args:
        cases: The training cases.
        budget: Patch and augmentation.
        seed: Seed of all that is random.
    """

    def __init__(self, cases: Sequence[Case], budget: Budget, seed: int) -> None:
        self._cases = cases
        self._patch = tuple(budget.patch)
        self._seed = seed
        self._on_disk = isinstance(cases, Cases) and not cases.fit_memory()
        self._transform = PatchTransform(budget)

    def __getitem__(self, number: int) -> Sample | InputError:
        """A sample, image (c, *patch) float32 and labels (1, *patch) uint8, or the error of reading it."""
        try:
            case = self._case(number)
            random = np.random.RandomState(np.random.SeedSequence([self._seed, number]).generate_state(4))
            image, labels = case.read(random_box(case, self._patch, random))
            return self._transform({IMAGE: image, LABELS: labels[None]}, random)
        except InputError as error:
            return error

    def _case(self, number: int) -> BoxReader:
        round_number, place = divmod(number, len(self._cases))
        index = int(_order(self._seed, round_number, len(self._cases))[place])
        if self._on_disk and isinstance(self._cases, Cases):
            return self._cases.reader(index)
        return self._cases[index]

    @property
    def workers(self) -> int:
        """Processes that read patches by default: 0 if the cases fit into memory, or else one per core, at most 4."""
        return min(len(os.sched_getaffinity(0)), MOST_WORKERS) if self._on_disk else 0


def batches(
    cases: Sequence[Case],
    *,
    budget: Budget,
    seed: int,
    start: int = 0,
    end: int | None = None,
    workers: int | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Read the batches of a training, from a step on.

    Args:
        cases: The training cases.
        budget: Steps, samples per batch, patch and augmentation.
        seed: Seed of the order of cases, the patches and the augmentation.
        start: The first step.
        end: The step before which the batches end; None: the budget's last.
        workers: Processes that read patches; None: as set by `data.workers`, or else by `Patches.workers`.

    Yields:
        Images (b, c, *patch) float32 and labels (b, 1, *patch) uint8.

    Raises:
        InputError: A case cannot be read, or a worker process was killed.
    """
    patches, settings = Patches(cases, budget, seed), prepared_settings()
    if workers is None and settings is not None:
        workers = settings.workers
    workers = patches.workers if workers is None else workers
    loader: DataLoader[Sample | InputError] = DataLoader(
        patches,
        batch_size=budget.batch,
        sampler=range(start * budget.batch, (budget.steps if end is None else end) * budget.batch),
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        collate_fn=_collated,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # by default the loader would draw from the generator that dropout uses
    )
    iterator = iter(loader)
    while (batch := _next(iterator)) is not None:
        yield batch[IMAGE], batch[LABELS]


class PatchTransform:
    """Pads a patch with background up to its full size, which a small case may lack, and augments it if that is set.

    Args:
        budget: Patch and augmentation.
    """

    def __init__(self, budget: Budget) -> None:
        self._patch = tuple(budget.patch)
        self._padding = SpatialPadd([IMAGE, LABELS], budget.patch)
        flips = [RandFlipd([IMAGE, LABELS], prob=0.5, spatial_axis=axis) for axis in range(3)]
        scale, shift = RandScaleIntensityd(IMAGE, factors=0.2, prob=0.5), RandShiftIntensityd(IMAGE, 0.2, prob=0.5)
        self._steps = [*flips, scale, shift] if budget.augment else []

    def __call__(self, sample: Sample, random: np.random.RandomState) -> Sample:
        """Transform a sample, image (c, d, h, w) and labels (1, d, h, w), with a generator."""
        with _untracked():
            if sample[LABELS].shape[1:] != self._patch:
                sample = self._padding(sample)
            for step in self._steps:
                sample = step.set_random_state(state=random)(sample)
            return sample


@contextmanager
def _untracked() -> Iterator[None]:
    """Keep MONAI from tracking the transforms of each tensor, which takes longer than the transforms themselves."""
    before = get_track_meta()
    set_track_meta(False)
    try:
        yield
    finally:
        set_track_meta(before)


def random_box(case: BoxReader, patch: Sequence[int], random: np.random.RandomState) -> Box:
    """Draw the box of a patch; along an axis that is shorter than the patch it is the whole axis.

    Args:
        case: The case.
        patch: (3,) voxels of a patch.
        random: The generator.
    """
    index = int(random.choice(_centres(case, random)))
    padded = [max(side, size) for side, size in zip(case.shape, patch, strict=True)]  # as SpatialPad does afterwards
    before = [(side - own) // 2 for side, own in zip(padded, case.shape, strict=True)]
    centre = [int(place) + gap for place, gap in zip(np.unravel_index(index, case.shape), before, strict=True)]
    centre = correct_crop_centers(centre, list(patch), padded)
    firsts = [int(place) - size // 2 - gap for place, size, gap in zip(centre, patch, before, strict=True)]
    return tuple(
        slice(max(first, 0), min(first + size, side))
        for first, size, side in zip(firsts, patch, case.shape, strict=True)
    )


def _centres(case: BoxReader, random: np.random.RandomState) -> NDArray[np.int64]:
    """Positions to draw a centre from: foreground or background at random; what the case lacks is not drawn from."""
    counts = case.counts
    foreground = [label for label in counts if label not in {0, IGNORED}]
    positive = random.rand() < POSITIVE
    if not foreground or (not positive and 0 in counts):
        return case.voxels(0 if 0 in counts else IGNORED)
    sizes = np.array([counts[label] for label in foreground], dtype=np.float64)
    return case.voxels(foreground[int(random.choice(len(foreground), p=sizes / sizes.sum()))])


@lru_cache(maxsize=2)
def _order(seed: int, round_number: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, round_number]).permutation(count)


def _collated(samples: Sequence[Sample | InputError]) -> Sample | InputError:
    """A batch of samples; an error is passed on, since the loader would add a worker's traceback to its message."""
    errors = [sample for sample in samples if isinstance(sample, InputError)]
    return errors[0] if errors else default_collate(list(samples))


def _next(iterator: Iterator[Sample | InputError]) -> Sample | None:
    try:
        batch = next(iterator, None)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise InputError(f"a process that reads patches was killed ({one_line(error)}); check memory and shared memory "
                         "(/dev/shm), or set data.workers=0") from error  # fmt: skip
    if isinstance(batch, InputError):
        raise batch
    return batch
