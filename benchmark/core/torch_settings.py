"""Torch's global settings: set for a block, or changed by a source's own code in it, and restored after it."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch

from benchmark.errors import InputError

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"  # environment variable that cuBLAS reads when CUDA starts
FIXED_WORKSPACE = ":4096:8"  # with which equal products have equal bits; 24 MB
NO_DETERMINISM = re.compile(r"(\S+) does not have a deterministic implementation|uses (CuBLAS)")  # torch's words
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


@contextmanager
def training_settings(device: str, *, deterministic: bool) -> Iterator[None]:
    """Set how a CUDA device trains and predicts in the block; on a CPU, which gives equal bits anyway, nothing changes.

    Args:
        device: Device of the training.
        deterministic: False: cuDNN tries its algorithms and takes the fastest, and float32 products may be TF32. True:
            equal seeds give equal bits on one device, with fixed algorithms and without TF32.

    Raises:
        InputError: `deterministic` is not a boolean; or an operation in the block has no deterministic implementation,
            or CUDA started before cuBLAS could be made deterministic.
    """
    if not isinstance(deterministic, bool):
        raise InputError(f"device.deterministic must be true or false, got {deterministic}")
    if torch.device(device).type != "cuda":
        yield
        return
    if deterministic:
        _fix_workspace()
    with restored_settings():
        torch.backends.cudnn.benchmark = not deterministic
        torch.backends.cudnn.deterministic = deterministic
        _allow_tf32(not deterministic)
        torch.use_deterministic_algorithms(deterministic)
        try:
            yield
        except RuntimeError as error:
            if not (deterministic and (named := NO_DETERMINISM.search(str(error)))):
                raise
            raise InputError(f"device.deterministic=true cannot be kept: {named[1] or named[2]} has no deterministic "
                             "implementation on this device; set device.deterministic=false, or use a network "
                             "without it") from error  # fmt: skip


@contextmanager
def full_precision(device: torch.device | str) -> Iterator[None]:
    """Compute float32 in float32 in the block; torch's own default for convolutions on a CUDA device is TF32."""
    if torch.device(device).type != "cuda":
        yield
        return
    with restored_settings():
        _allow_tf32(False)
        yield


def _allow_tf32(allowed: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def _fix_workspace() -> None:
    """Set cuBLAS's workspace, which it reads once; it remains set, as CUDA remains started."""
    if os.environ.get(CUBLAS) in (":4096:8", ":16:8"):
        return
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch's stubs
        raise InputError(f"device.deterministic=true needs {CUBLAS}={FIXED_WORKSPACE} in the environment, because CUDA "
                         "had already started in this process; set it, or run each job in a new process")  # fmt: skip
    os.environ[CUBLAS] = FIXED_WORKSPACE
