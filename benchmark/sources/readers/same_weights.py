"""Find weights files that are copies in another format, such as `unet.pt` and `unet.safetensors`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmark.sources.weights.monai_signatures import first_names
from benchmark.sources.weights.safe_load import read_weights, unwrap

HUGGING_FACE = ("pytorch_model", "model")  # names of a model in .bin and in .safetensors


def formats_of_one_model(files: Sequence[Path]) -> dict[Path, Path]:
    """Find files whose tensors equal those of another file with the same folder and stem.

    Only such files are read; `pytorch_model.bin` and `model.safetensors` of Hugging Face count as one stem.

    Args:
        files: Weights files; the first of equal files is kept.

    Returns:
        File -> the equal file that is kept.
    """
    groups: dict[tuple[Path, str], list[Path]] = {}
    for file in files:
        groups.setdefault((file.parent.resolve(), _stem(file)), []).append(file)
    copies: dict[Path, Path] = {}
    for group in groups.values():
        if len(group) > 1:
            copies |= _equal(group)
    return copies


def _equal(files: Sequence[Path]) -> dict[Path, Path]:
    kept: dict[Path, Mapping[str, Tensor]] = {}
    copies: dict[Path, Path] = {}
    for file in files:
        weights = _weights(file)
        if weights is None:
            continue
        same = next((other for other, own in kept.items() if _are_equal(own, weights)), None)
        if same is None:
            kept[file] = weights
        else:
            copies[file] = same
    return copies


def _stem(file: Path) -> str:
    bin_name, safe_name = HUGGING_FACE
    start = file.stem.partition(".")[0]
    if file.suffix == ".bin" and start == bin_name:
        return safe_name + file.stem[len(bin_name) :]
    return file.stem


def _weights(file: Path) -> dict[str, Tensor] | None:
    """The tensors without a prefix that all names share, such as Lightning's `net.`; None if unreadable."""
    try:
        weights = unwrap(read_weights(file), file).weights
    except Exception:  # a file can be broken in any way; opening it as a source reports the reason
        return None
    common = _common(weights) if weights else 0
    named = first_names({name[common:]: tensor for name, tensor in weights.items()})
    return {name: tensor for name, tensor in named.items() if not name.startswith("skip_layers.")} or None


def _common(names: Mapping[str, Tensor]) -> int:
    """The length of the prefix, up to a dot, that all names share."""
    first, last = min(names), max(names)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first.rfind(".", 0, length) + 1


def _are_equal(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(_same(tensor, right[name]) for name, tensor in left.items())


def _same(left: Tensor, right: Tensor) -> bool:
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    try:  # bytes are compared, so that NaN equals NaN
        return torch.equal(*(tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (left, right)))
    except RuntimeError:  # not a dense tensor
        return False
