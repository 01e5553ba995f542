"""Selection of an operation's implementation, by device only and without silent fallback."""

import importlib.util
from typing import Literal, TypeAlias, cast

import torch

Backend: TypeAlias = Literal["auto", "torch", "triton"]
Resolved: TypeAlias = Literal["torch", "triton"]


def resolve_backend(backend: str, device: torch.device | str) -> Resolved:
    """Select the backend of an operation that has a Triton kernel.

    Args:
        backend: "auto" (Triton on CUDA where Triton is installed, else torch), "torch" or "triton".
        device: device of the data.

    Raises:
        ValueError: if the name is unknown, or "triton" cannot run on the device.

    Example:
        >>> resolve_backend("auto", "cpu")
        'torch'
        >>> resolve_backend("cuda", "cpu")
        Traceback (most recent call last):
        ValueError: `backend` must be "auto", "torch" or "triton", got 'cuda'
    """
    kind = torch.device(device).type
    if backend not in ("auto", "torch", "triton"):
        raise ValueError(f'`backend` must be "auto", "torch" or "triton", got {backend!r}')
    if backend == "auto":
        return "triton" if kind == "cuda" and _has_triton() else "torch"
    if backend == "triton" and not _has_triton():
        raise ValueError('`backend` "triton" cannot run: Triton is not installed')
    if backend == "triton" and kind != "cuda" and not _interprets():
        raise ValueError(f'`backend` "triton" must run on a CUDA device, got {kind}')
    return cast(Resolved, backend)


def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def _interprets() -> bool:
    """Whether Triton's interpreter runs kernels on the CPU; slow, for tests."""
    import triton

    return bool(triton.knobs.runtime.interpret)
