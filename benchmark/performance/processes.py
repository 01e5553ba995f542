"""Run a measurement in a fresh process, so that earlier ones do not affect its peak memory."""

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
        function: module-level function, which can be pickled.
        arguments: arguments that can be pickled.

    Returns:
        The result of the function; its exceptions are raised here.
    """
    with ProcessPoolExecutor(1, get_context("spawn"), _limit_threads, (torch.get_num_threads(),)) as pool:
        return pool.submit(function, *arguments).result()


def _limit_threads(count: int) -> None:
    torch.set_num_threads(count)
    threadpool_limits(limits=count)
