"""A task's cases as a sequence: read from the store of prepared cases, or from the task's own files."""

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import Any, TypeVar, overload

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray
from torch import Tensor

from benchmark.core.labels import IGNORED
from benchmark.data.files.cases import Box, BoxReader, Case
from benchmark.data.prepared.case_folder import BrokenCaseError, StoredCase, read_properties
from benchmark.data.prepared.preparing import prepare_missing
from benchmark.data.prepared.request import CaseRequest
from benchmark.data.prepared.store import PreparedStore
from benchmark.errors import CaseError, InputError
from benchmark.storage.prepared_settings import PreparedSettings

MEMORY_GIB = 1.0  # for cases in memory; larger sets are read from disk, box by box

Result = TypeVar("Result")


class Cases(Sequence[Case]):
    """A sequence whose items are prepared cases.

    Iteration reads one case after the other and keeps none, so memory does not grow with the number of cases. Indexing
    caches the most recently used cases up to a limit.

    Args:
        requests: One request per case.
        place: Folder and split, for errors.
        store: The store of prepared cases; None: cases are prepared in memory.
        memory_gib: Size of the cache, GiB.

    Attributes:
        requests: As given.
        store: As given.
    """

    def __init__(
        self,
        requests: Sequence[CaseRequest],
        *,
        place: str,
        store: PreparedStore | None = None,
        memory_gib: float = MEMORY_GIB,
    ) -> None:
        self.requests = requests
        self._place = place
        self.store = store
        self._memory_gib = memory_gib
        room = max(int(memory_gib * 2**30), 1)
        # a case above the limit counts as the limit, so it is kept alone
        self._kept: LRUCache[int, Case] = LRUCache(room, getsizeof=lambda case: min(case.nbytes, room))
        self._empty: set[int] = set()
        self._stored: set[int] = set()  # indices of the cases that `prepare` has stored

    def __len__(self) -> int:
        return len(self.requests)

    def __iter__(self) -> Iterator[Case]:
        for index in range(len(self)):
            yield self._kept.get(index) or self._load(index)

    @overload
    def __getitem__(self, index: int) -> Case: ...
    @overload
    def __getitem__(self, index: slice) -> "Cases": ...
    def __getitem__(self, index: int | slice) -> "Case | Cases":
        if isinstance(index, slice):
            return self.chosen(range(len(self))[index])
        place = range(len(self))[index]
        if place not in self._kept:
            self._kept[place] = self._load(place)
        return self._kept[place]

    def chosen(self, indices: Sequence[int]) -> "Cases":
        """Some of the cases, in the order of their indices."""
        requests = [self.requests[index] for index in indices]
        cases = Cases(requests, place=self._place, store=self.store, memory_gib=self._memory_gib)
        cases._stored = {new for new, old in enumerate(indices) if old in self._stored}
        return cases

    def __reduce__(self) -> tuple[Callable[..., "Cases"], tuple[object, ...]]:
        """The cases as a worker process gets them: it reads the same store, and keeps its own cases in memory."""
        settings = self.store.settings if self.store is not None else None
        return _rebuilt, (self.requests, self._place, settings, self._memory_gib, sorted(self._stored))

    def prepare(self, indices: Iterable[int] | None = None, *, required: bool = True) -> "Cases":
        """Prepare the cases that are not stored yet, in parallel, and let nobody evict them while this object lives.

        Without a store nothing happens.

        Args:
            indices: The cases that will be read; None: all.
            required: Whether to fail if the disk is too small; otherwise the cases are prepared at each use.

        Returns:
            This object.

        Raises:
            InputError: The disk is too small, or no case has a foreground voxel. Also the errors of reading a case.
        """
        prepare_together([self], indices=indices, required=required)
        return self

    def use(self, indices: Iterable[int] | None) -> list[int]:
        """Let nobody evict the given cases, or all, while this object lives; return those that are not stored yet."""
        chosen = [index for index in (range(len(self)) if indices is None else indices) if index not in self._stored]
        if self.store is None or not chosen:
            return []
        keys = [self.requests[index].key for index in chosen]
        self.store.use(keys)
        weakref.finalize(self, self.store.uses.remove, keys)
        return chosen

    def mark_stored(self, indices: Iterable[int]) -> None:
        """Read cases from the store from now on; those that are not in it are prepared at each use."""
        for index in indices:
            if self.store is not None and self.store.has(self.requests[index]):
                self._stored.add(index)
                self._note(index, {int(label) for label in self._properties(self.requests[index])["counts"]})

    def reader(self, index: int) -> BoxReader:
        """A case that is read box by box: from disk if it is stored, or else from memory."""
        if self.store is None or index not in self._stored or index in self._kept:
            return self[index]
        return StoredReader(self.store, self.requests[index], owner=self)

    def readers(self) -> Iterator[BoxReader]:
        """All cases as `reader` gives them."""
        return (self.reader(index) for index in range(len(self)))

    def fit_memory(self) -> bool:
        """Whether all cases together fit into the cache."""
        return sum(self._bytes(index) for index in range(len(self))) <= self._memory_gib * 2**30

    def _bytes(self, index: int) -> int:
        if index not in self._stored:
            return self.requests[index].estimated_bytes
        properties = self._properties(self.requests[index])
        return int(prod(properties["shape"]) * (4 * properties["channels"] + 1))

    def _properties(self, request: CaseRequest) -> dict[str, Any]:
        assert self.store is not None
        try:
            return read_properties(self.store.place(request.key))
        except BrokenCaseError:  # deleted since it was prepared
            self.store.make(request)
            return read_properties(self.store.place(request.key))

    def _load(self, index: int) -> Case:
        request = self.requests[index]
        if self.store is not None and index in self._stored:
            return StoredReader(self.store, request).load()
        if self.store is None:
            case = request.read(request.files)
        else:
            case = request.prepare()
            self.store.prepared_in_memory += 1
        self._note(index, set(case.counts))
        return case

    def _note(self, index: int, labels: set[int]) -> None:
        """Remember whether a case has foreground.

        Raises:
            InputError: No case has.
        """
        if not labels - {0, IGNORED}:
            self._empty.add(index)
        if len(self._empty) == len(self):
            raise InputError(f"{self._place} has no foreground voxel in any case")


def prepare_together(
    sequences: Sequence[Cases], *, indices: Iterable[int] | None = None, required: bool = True
) -> None:
    """Prepare the cases of several sequences, such as the splits of a task, after one look at the disk for all.

    Args:
        sequences: The sequences; all have the same store.
        indices: The cases of each that will be read; None: all.
        required: As in `Cases.prepare`; errors, too.
    """
    missing = [(cases, cases.use(indices)) for cases in sequences]
    requests = [cases.requests[index] for cases, chosen in missing for index in chosen]
    stores = [cases.store for cases in sequences if cases.store is not None]
    if requests:
        prepare_missing(stores[0], requests, required=required)
    for cases, chosen in missing:
        cases.mark_stored(chosen)


def _rebuilt(
    requests: Sequence[CaseRequest],
    place: str,
    settings: PreparedSettings | None,
    memory_gib: float,
    stored: Sequence[int],
) -> Cases:
    store = PreparedStore(settings) if settings is not None else None
    cases = Cases(requests, place=place, store=store, memory_gib=memory_gib)
    cases._stored = set(stored)
    return cases


class StoredReader:
    """A stored case that is opened at its first use, and prepared again if its files are deleted or altered.

    Args:
        store: The store.
        request: The case.
        owner: The sequence of the case, which lives as long as this object: its cases are not evicted.
    """

    def __init__(self, store: PreparedStore, request: CaseRequest, owner: Cases | None = None) -> None:
        self._owner = owner
        self._store = store
        self._request = request
        self._case: StoredCase | None = None

    @property
    def name(self) -> str:
        """The case's name."""
        return self._request.name

    @property
    def shape(self) -> tuple[int, ...]:
        """(D, H, W) voxels."""
        return self._opened().shape

    @property
    def spacing(self) -> tuple[float, ...]:
        """(3,) mm, in the array's axis order."""
        return self._opened().spacing

    @property
    def counts(self) -> Mapping[int, int]:
        """Class -> number of its voxels."""
        return self._opened().counts

    def voxels(self, label: int) -> NDArray[np.int64]:
        """Flat indices of voxels of a class."""
        return self._retried(lambda case: self._store.voxels(case, label))

    def read(self, box: Box) -> tuple[Tensor, Tensor]:
        """The image (c, d, h, w) float32 and the labels (d, h, w) uint8 of a box."""
        return self._retried(lambda case: case.read(box))

    def read_image(self, box: Box) -> Tensor:
        """The image (c, d, h, w) float32 of a box."""
        return self._retried(lambda case: case.read_image(box))

    def read_labels(self, box: Box) -> Tensor:
        """The labels (d, h, w) uint8 of a box."""
        return self._retried(lambda case: case.read_labels(box))

    @property
    def image(self) -> Tensor:
        """(c, D, H, W) float32, the whole volume, read at each access."""
        return self.read_image(_whole(self.shape))

    @property
    def labels(self) -> Tensor:
        """(D, H, W) uint8, the whole volume, read at each access."""
        return self.read_labels(_whole(self.shape))

    def load(self) -> Case:
        """The whole case in memory."""
        image, labels = self.read(_whole(self.shape))
        return Case(self.name, image, labels, self.spacing)

    def _opened(self) -> StoredCase:
        if self._case is None:
            self._case = self._store.open(self._request)
        return self._case

    def _retried(self, read: Callable[[StoredCase], Result]) -> Result:
        try:
            return read(self._opened())
        except BrokenCaseError:
            self._case = self._store.open(self._request)
        try:
            return read(self._case)
        except BrokenCaseError as error:
            folder = self._case.folder
            raise CaseError(f"cannot read prepared case {self.name} in {folder}: {error}; check the disk") from error


def _whole(shape: tuple[int, ...]) -> Box:
    return tuple(slice(0, side) for side in shape)
