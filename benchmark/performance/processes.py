"""A measurement in a process of its own, whose peak memory no earlier measurement has raised."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it has no types

T = TypeVar("T")


def in_fresh_process(function: Callable[..., T], *arguments: object) -> T:
    """Call a function in a new process with as many threads as this one.

    Args:
        function: of a module, so that the process finds it by name.
        arguments: what can be pickled.

    Returns:
        What the function returned; what it raised is raised.
    """
    with ProcessPoolExecutor(1, get_context("spawn"), _limit_threads, (torch.get_num_threads(),)) as pool:
        return pool.submit(function, *arguments).result()


def _limit_threads(count: int) -> None:
    torch.set_num_threads(count)
    threadpool_limits(limits=count)
