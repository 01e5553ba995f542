"""Rows on the memory of `score` at real size: with a large volume over a small one, with many source classes over few.

Memory is the peak of the resident set of a fresh process: all of its private memory (USS) counts, and the pages of
files that are mapped into memory and read. What the network takes is kept out: every window gets what it returned for
one.
"""

import ctypes
import gc
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias, cast

import torch

from benchmark.data.files.cases import BoxReader, Case
from benchmark.data.prepared.case_folder import open_case, write_case
from benchmark.features.replay import Replay
from benchmark.features.taps import Taps
from benchmark.performance.measurement import Measurement, in_fresh_process, use
from benchmark.performance.workload import Scoring

WARM_SIDE = 32  # voxels along each axis of a first case, which is not measured
NAME = "case"

Load: TypeAlias = tuple[Scoring, tuple[int, ...]]  # a scoring, and the (D, H, W) voxels of its case


@dataclass(frozen=True)
class ScoreMemorySize:
    """Memory of scoring a large case, compared with a small one.

    Attributes:
        scoring: network, metrics and windows.
        large: (D, H, W) voxels of the large case.
        small: (D, H, W) voxels of the small case.
        bound: maximum ratio.
    """

    scoring: Scoring
    large: tuple[int, int, int]
    small: tuple[int, int, int]
    bound: float

    def measure(self, device: str) -> Measurement:
        """Compare the two."""
        return _compared((self.scoring, self.large), (self.scoring, self.small), self.bound)


@dataclass(frozen=True)
class ScoreMemoryClasses:
    """Memory of scoring a source of many classes, compared with one of few.

    Attributes:
        scoring: network, metrics and windows.
        many: number of source classes.
        few: number of source classes.
        shape: (D, H, W) voxels of the case.
        bound: maximum ratio.
    """

    scoring: Scoring
    many: int
    few: int
    shape: tuple[int, int, int]
    bound: float

    def measure(self, device: str) -> Measurement:
        """Compare the two."""
        many, few = (replace(self.scoring, source_classes=count) for count in (self.many, self.few))
        return _compared((many, self.shape), (few, self.shape), self.bound)


def _compared(ours: Load, reference: Load, bound: float) -> Measurement:
    return Measurement(_memory(*ours), _memory(*reference), "at most", bound, "cpu", unit="MB")


def _memory(scoring: Scoring, shape: tuple[int, ...]) -> float:
    """Memory in MB of scoring a case of this shape above its network, in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        write_case(block_case(tuple(shape), scoring.classes), Path(folder))
        return in_fresh_process(memory_of_scoring, scoring, folder)


def memory_of_scoring(scoring: Scoring, folder: str) -> float:
    """The largest memory in MB while a stored case is scored, above that with what its network returns for a window."""
    case, network = open_case(Path(folder), NAME), scoring.build("cpu")
    small = replace(scoring, window=(WARM_SIDE,) * 3)
    small.score(network, [block_case((WARM_SIDE,) * 3, scoring.classes)], "cpu")  # imports what the first use imports
    with Taps(network, scoring.tapped) as taps, torch.no_grad():
        logits = network(torch.randn(scoring.batch, 1, *scoring.window, generator=torch.Generator().manual_seed(0)))
        replay = Replay(dict(zip(taps.names, taps.take(), strict=True)), logits)
    del network, taps
    _return_freed_memory()
    used = use(lambda: scoring.score(replay, [cast("BoxReader", case)], "cpu"))  # which reads it box by box
    return used.peak - used.before


def _return_freed_memory() -> None:
    """Give the system what was freed, so that it does not hide what is allocated next; only glibc can."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def block_case(shape: tuple[int, ...], classes: int, seed: int = 0) -> Case:
    """A case (1, D, H, W) of noise with a block of the classes in its middle, a quarter of each side."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(shape, dtype=torch.uint8)
    start, size = [3 * side // 8 for side in shape], [max(side // 4, 1) for side in shape]
    block = labels[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))]
    for label in range(1, classes):
        block[(label - 1) * size[0] // (classes - 1) : label * size[0] // (classes - 1)] = label
    image = torch.randn((1, *shape), generator=generator)
    return Case(NAME, image.add_(labels[None]), labels, (1.0, 1.0, 1.0))
