"""Timing of two functions in alternation, so that a slowdown of the machine affects both."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Generic, TypeVar

import torch

Ours = TypeVar("Ours")
Reference = TypeVar("Reference")


@dataclass(frozen=True)
class Timed(Generic[Ours, Reference]):
    """Median times, and the results of the last run.

    Attributes:
        ours: seconds of our function.
        reference: seconds of the reference.
        found: result of our function.
        expected: result of the reference.
    """

    ours: float
    reference: float
    found: Ours
    expected: Reference


def time_both(
    ours: Callable[[], Ours], reference: Callable[[], Reference], *, repeats: int, device: str
) -> Timed[Ours, Reference]:
    """Run both functions in alternation and take the median time of each.

    Args:
        ours: this project's function.
        reference: plain reference.
        repeats: number of runs of each, at least 1.
        device: device to synchronise before reading the clock.

    Returns:
        Times and results.

    Raises:
        ValueError: if `repeats` is not positive.
    """
    if repeats < 1:
        raise ValueError(f"`repeats` must be at least 1, got {repeats}")
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        seconds, found = _timed(ours, device)
        times[0].append(seconds)
        seconds, expected = _timed(reference, device)
        times[1].append(seconds)
    return Timed(median(times[0]), median(times[1]), found, expected)


T = TypeVar("T")


def _timed(run: Callable[[], T], device: str) -> tuple[float, T]:
    _wait(device)
    start = time.perf_counter()
    result = run()
    _wait(device)
    return time.perf_counter() - start, result


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
