"""Cases of real size for the rows on training data: generated and prepared once in a process."""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from benchmark.data.embedded.real_size import RealSizeTask
from benchmark.data.files.cases import Case
from benchmark.data.prepared.cases import Cases
from benchmark.data.prepared.store import PreparedStore
from benchmark.data.preprocessing.normalise import Normalisation
from benchmark.data.tasks.task import Split
from benchmark.storage.files import link_or_copy
from benchmark.storage.prepared_settings import PreparedSettings, storing_prepared


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
        normalisation=Normalisation((-160.0, 240.0)),
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
