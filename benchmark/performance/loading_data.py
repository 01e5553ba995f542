"""Cases of real size for the rows on training data: generated and prepared once in a process."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import cast

import numpy as np
import torch

from benchmark.data.embedded.phantom import Phantom
from benchmark.data.embedded.real_size import RealSizeTask
from benchmark.data.files.cases import Case
from benchmark.data.prepared.case_folder import open_case, write_case
from benchmark.data.prepared.cases import Cases
from benchmark.data.prepared.store import PreparedStore
from benchmark.data.preprocessing.normalise import Normalisation
from benchmark.data.tasks.task import Split
from benchmark.storage.files import link_or_copy
from benchmark.storage.prepared_settings import PreparedSettings, storing_prepared

WINDOW = (-160.0, 240.0)  # HU


@dataclass(frozen=True)
class RealSizeCases:
    """Generated cases.

    Attributes:
        cases: number of cases.
        plane: (X, Y) voxels of a slice.
        slices: (lowest, highest) number of slices.
    """

    cases: int
    plane: tuple[int, int]
    slices: tuple[int, int]

    def task(self) -> RealSizeTask:
        """The task with the cases as its training cases, generated at the first call in a process."""
        return _generated(self.cases, tuple(self.plane), tuple(self.slices))

    def stored(self) -> Cases:
        """The cases on disk, prepared on their stored grid at the first call in a process; none is kept in memory."""
        cases = _stored(self.cases, tuple(self.plane), tuple(self.slices))
        return Cases(cases.requests, place="cases", store=cases.store, memory_gib=0.0).prepare()

    def written(self) -> Sequence[Case]:
        """The cases on disk as prepared cases are stored, generated without reading files, nnU-Net or SimpleITK.

        They are read box by box; written at the first call in a process.
        """
        return _written(self.cases, tuple(self.plane), tuple(self.slices))


def repeated(cases: Cases, count: int) -> Cases:
    """As many stored cases, each with a key of its own; their files are hard links to those of the given cases."""
    store = cases.store
    if store is None:
        raise ValueError("`cases` must be stored, got cases without a store")
    requests = []
    for number, request in enumerate(islice(cycle(cases.requests), count)):
        copied = replace(request, settings={**request.settings, "copy": number})
        if not store.place(copied.key).is_dir():
            store.place(copied.key).mkdir()
            for path in store.place(request.key).iterdir():
                link_or_copy(path, store.place(copied.key) / path.name)
        requests.append(copied)
    return Cases(requests, place="repeated cases", store=PreparedStore(store.settings), memory_gib=0.0).prepare()


def write_for_nnunet(cases: Iterable[Case], folder: Path, patch: tuple[int, int, int]) -> None:
    """Write prepared cases as nnU-Net's preprocessing does, in blocks for its patch and with positions of voxels."""
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2

    for case in cases:
        image, labels = case.image.numpy(), case.labels.numpy()[None].astype(np.int8)
        blocks, chunks = comp_blosc2_params(image.shape, patch, image.itemsize)
        blocks_seg, chunks_seg = comp_blosc2_params(labels.shape, patch, labels.itemsize)
        locations = {
            label: np.insert(np.column_stack(np.unravel_index(case.voxels(label), case.shape)), 0, 0, axis=1)
            for label in case.counts
            if label
        }
        nnUNetDatasetBlosc2.save_case(
            image,
            labels,
            {"class_locations": locations},
            str(folder / case.name),
            chunks=chunks,
            blocks=blocks,
            chunks_seg=chunks_seg,
            blocks_seg=blocks_seg,
        )


@cache
def _root() -> tempfile.TemporaryDirectory[str]:
    """A folder that lives as long as the process."""
    return tempfile.TemporaryDirectory(prefix="real_size_")


@cache
def _generated(cases: int, plane: tuple[int, int], slices: tuple[int, int]) -> RealSizeTask:
    folder = Path(tempfile.mkdtemp(dir=_root().name))
    task = RealSizeTask(
        name="real_size",
        folder=folder / "real_size",
        normalisation=Normalisation(WINDOW),
        counts={Split.TRAIN: cases, Split.TEST: 0},
        plane=plane,
        slices=slices,
    )
    task.prepare(folder)
    return task


@cache
def _stored(cases: int, plane: tuple[int, int], slices: tuple[int, int]) -> Cases:
    task = _generated(cases, plane, slices)
    with storing_prepared(PreparedSettings(Path(task.folder).parent / "prepared")):
        return task.cases(Split.TRAIN).prepare()


@cache
def _written(cases: int, plane: tuple[int, int], slices: tuple[int, int]) -> Sequence[Case]:
    folder = Path(tempfile.mkdtemp(dir=_root().name))
    stored = []
    for number, depth in enumerate(np.linspace(*slices, cases).round().astype(int)):
        place = folder / f"case_{number}"
        place.mkdir()
        write_case(_phantom(place.name, (*plane, int(depth)), np.random.default_rng(number)), place, layout=_blocks)
        stored.append(open_case(place, place.name))
    return cast("Sequence[Case]", stored)  # which a training reads as it reads these, box by box


def _phantom(name: str, shape: tuple[int, int, int], rng: np.random.Generator) -> Case:
    """A case (1, Z, Y, X) with one organ, normalised as a CT."""
    phantom = Phantom.draw(shape, 1, lesion=False, radius=0.2, rng=rng)
    slices = [phantom.slice(index, noise=20.0, rng=rng) for index in range(shape[2])]
    image, labels = (torch.from_numpy(np.stack(part)) for part in zip(*slices, strict=True))
    lowest, highest = WINDOW
    return Case(
        name, (image[None].float().clamp(lowest, highest) - lowest) / (highest - lowest), labels, (1.0, 1.0, 1.0)
    )


def _blocks(shape: tuple[int, ...], itemsize: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Blocks and chunks as nnU-Net's rule gives them for a volume of real size, without nnU-Net."""
    sides = ((32, 32, 32), (96, 128, 128)) if itemsize == 4 else ((64, 64, 32), (144, 144, 144))
    blocks, chunks = ((1, *(min(side, size) for side, size in zip(each, shape[1:], strict=True))) for each in sides)
    return blocks, chunks
