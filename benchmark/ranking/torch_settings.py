"""Torch's global settings, which a source's own code may change and which are restored after it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch

# Settings of the whole process that a source's own code may change: how each is read, and how it is set
SETTINGS: tuple[tuple[Callable[[], object], Callable[..., object]], ...] = (
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_default_device, lambda device: torch.set_default_device(None if device.type == "cpu" else device)),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    *(
        (partial(getattr, torch.backends.cudnn, name), partial(setattr, torch.backends.cudnn, name))
        for name in ("enabled", "benchmark", "deterministic", "allow_tf32")
    ),
)


@contextmanager
def restored_settings() -> Iterator[None]:
    """Put torch's global settings back after the block: dtype, device, gradients, threads, determinism, precision.

    Example:
        >>> with restored_settings():
        ...     torch.set_default_dtype(torch.float64)
        >>> torch.ones(1).dtype
        torch.float32
    """
    before = [read() for read, _ in SETTINGS]
    try:
        yield
    finally:
        for value, (read, write) in zip(before, SETTINGS, strict=True):
            if read() != value:
                write(value)
