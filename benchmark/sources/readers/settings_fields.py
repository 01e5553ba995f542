"""The fields of a source's settings: their types, meanings and examples, as `inspect --schema` prints them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmark.data.preprocessing.normalise import SCHEMES
from benchmark.data.preprocessing.preparation import is_orientation
from benchmark.errors import is_number, is_whole


@dataclass(frozen=True)
class Field:
    """A field of the file: its type in words, its meaning, an example, and whether a value is of this type."""

    kind: str
    meaning: str
    example: str
    suits: Callable[[Any], bool]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_mapping(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(name, str) for name in value)


def _is_labels(value: object) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(is_whole(number) and _is_text(name) for number, name in value.items())
    )


def _is_patch(value: object) -> bool:
    return isinstance(value, list) and len(value) in (2, 3) and all(is_whole(side) and side > 0 for side in value)


def _is_spacing(value: object) -> bool:
    return isinstance(value, list) and len(value) in (2, 3) and all(is_number(mm) and mm > 0 for mm in value)


def _is_scheme(value: object) -> bool:
    if not isinstance(value, dict) or not _is_text(value.get("name")):
        return False
    numbers = {name: number for name, number in value.items() if name not in ("name", "masked")}
    return isinstance(value.get("masked", False), bool) and all(map(is_number, numbers.values()))


def _is_intensities(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(_is_scheme, value))
    window = value.get("window") if isinstance(value, dict) and len(value) == 1 else None
    is_window = isinstance(window, list) and len(window) == 2 and all(map(is_number, window)) and window[0] < window[1]
    return is_window or value == "zscore"


FIELDS: dict[str, Field] = {
    "network": Field(
        "text",
        "class of monai.networks.nets or of nnU-Net's network package, by its name or its dotted name; if neither this "
        "nor `factory` is given, the network is recognised by the weights",
        "UNet",
        _is_text,
    ),
    "factory": Field(
        "text",
        "package.module:function that builds the network from in_channels, out_channels and `settings`; runs code, so "
        "that it needs trust=true",
        "my_package.networks:make",
        _is_text,
    ),
    "settings": Field(
        "mapping",
        "arguments of the network; of a recognised one, those that its weights do not show; classes of torch.nn are "
        "named as text",
        "{strides: [2, 2], merging: monai_1.4}",
        _is_mapping,
    ),
    "dims": Field(
        "2 or 3",
        "dimensions of the network that `factory` builds; 3 if not given",
        "3",
        lambda value: is_whole(value) and value in (2, 3),
    ),
    "fixed": Field(
        "true or false",
        "whether the network that `network` or `factory` names accepts patches of the size `patch` only",
        "false",
        lambda value: isinstance(value, bool),
    ),
    "prefix": Field(
        "text", "prefix of the network's parameter names, if the file has several networks", "student.", _is_text
    ),
    "ema": Field(
        "true or false",
        "whether averaged weights (EMA) are taken where the file has both",
        "true",
        lambda value: isinstance(value, bool),
    ),
    "labels": Field(
        "mapping of whole numbers to names",
        "label value -> class name in the training data",
        "{0: background, 1: liver}",
        _is_labels,
    ),
    "patch": Field("2 or 3 whole numbers", "voxels of the training windows", "[96, 96, 96]", _is_patch),
    "spacing": Field(
        "2 or 3 positive numbers",
        "mm that training volumes were resampled to, along X, Y, Z",
        "[1.5, 1.5, 2.0]",
        _is_spacing,
    ),
    "orientation": Field(
        "three letters",
        "directions in which X, Y and Z of training volumes increased: R or L, A or P, S or I; volumes are flipped and "
        "their axes swapped to it before anything else",
        "RAS",
        is_orientation,
    ),
    "intensities": Field(
        "zscore, {window: [low, high]}, or a list with a scheme of nnU-Net for each channel",
        "how training intensities were normalised: each channel's own mean and deviation; a window that is scaled to "
        f"-1 to 1; or {', '.join(SCHEMES)} with masked, mean, std, low, high",
        "[{name: CTNormalization, mean: 80.0, std: 130.0, low: -160.0, high: 240.0}]",
        _is_intensities,
    ),
}
