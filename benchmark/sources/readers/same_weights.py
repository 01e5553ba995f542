"""Which files are one model in two formats, such as `unet.pt` with `unet.safetensors`, decided by their tensors."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmark.sources.weights.monai_signatures import first_names
from benchmark.sources.weights.safe_load import read_weights, unwrap

HUGGING_FACE = ("pytorch_model", "model")  # transformers names a model so in .bin, and in .safetensors


def formats_of_one_model(files: Sequence[Path]) -> dict[Path, Path]:
    """Files whose weights another file of the same folder and stem holds, too.

    Only such files are read, and Hugging Face's `pytorch_model.bin` with `model.safetensors`.

    Args:
        files: Weights files; of those that are equal, the first is kept.

    Returns:
        File -> the file that is kept in its place.
    """
    groups: dict[tuple[Path, str], list[Path]] = {}
    for file in files:
        groups.setdefault((file.parent.resolve(), _stem(file)), []).append(file)
    found: dict[Path, Path] = {}
    for group in groups.values():
        if len(group) > 1:
            found |= _equal(group)
    return found


def _equal(files: Sequence[Path]) -> dict[Path, Path]:
    kept: dict[Path, Mapping[str, Tensor]] = {}
    found: dict[Path, Path] = {}
    for file in files:
        weights = _weights(file)
        if weights is None:
            continue
        same = next((other for other, own in kept.items() if _are_equal(own, weights)), None)
        if same is None:
            kept[file] = weights
        else:
            found[file] = same
    return found


def _stem(file: Path) -> str:
    bin_name, safe_name = HUGGING_FACE
    start = file.stem.partition(".")[0]
    if file.suffix == ".bin" and start == bin_name:
        return safe_name + file.stem[len(bin_name) :]
    return file.stem


def _weights(file: Path) -> dict[str, Tensor] | None:
    """The tensors under their names without what all have in common, as Lightning's `net.`; None if unreadable."""
    try:
        weights = unwrap(read_weights(file), file).weights
    except Exception:  # a file can be broken in any way; why it cannot be read is said where it is opened as a source
        return None
    common = _common(weights) if weights else 0
    named = first_names({name[common:]: tensor for name, tensor in weights.items()})
    return {name: tensor for name, tensor in named.items() if not name.startswith("skip_layers.")} or None


def _common(names: Mapping[str, Tensor]) -> int:
    """How many letters all names begin with, up to a dot."""
    first, last = min(names), max(names)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first.rfind(".", 0, length) + 1


def _are_equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(_same(tensor, other[name]) for name, tensor in one.items())


def _same(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    try:
        return torch.equal(*(tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other)))  # NaN, too
    except RuntimeError:  # not a dense tensor
        return False
