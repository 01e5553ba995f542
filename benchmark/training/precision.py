"""Number format of a network's forward passes in training, and in the prediction that Dice is measured on."""

from typing import Literal, TypeAlias

import torch

from benchmark.errors import InputError

Precision: TypeAlias = Literal["float32", "bfloat16"]
BY_SETTING: dict[object, Precision] = {False: "float32", "float32": "float32", "bfloat16": "bfloat16"}


def choose_precision(amp: str | bool | None, device: str, *, setting: str = "trainer.amp") -> Precision:
    """Resolve the setting of mixed precision.

    Args:
        amp: "bfloat16"; False or "float32" for full precision; None for bfloat16 on a CUDA device that computes in it
            (compute capability 8.0 or newer), and full precision elsewhere.
        device: Device of the training.
        setting: Name of the setting, for errors.

    Raises:
        InputError: `amp` has another value.

    Example:
        >>> choose_precision(None, "cpu"), choose_precision("bfloat16", "cpu")
        ('float32', 'bfloat16')
    """
    if amp is None:
        is_fast = torch.device(device).type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bfloat16" if is_fast else "float32"
    if not isinstance(amp, str | bool) or amp not in BY_SETTING:
        raise InputError(f"{setting} must be null, false, float32 or bfloat16, got {amp}")
    return BY_SETTING[amp]


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The block in which a forward pass runs with a precision; its loss is computed outside, in float32."""
    mixed = precision != "float32"
    return torch.autocast(device.type, dtype=torch.bfloat16 if mixed else None, enabled=mixed)
