"""Which class each stored label value is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.core.labels import IGNORED
from benchmark.errors import InputError


@dataclass(frozen=True)
class Labelling:
    """Stored label values and the exclusive classes that they are.

    Attributes:
        classes: Stored value -> class 0 .. k-1, or IGNORED.
        names: Name of each class, 0 (the background) first.
    """

    classes: Mapping[int, int]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.names) > IGNORED:
            raise InputError(f"dataset.json: labels must be at most {IGNORED}, got {len(self.names)}")

    def __call__(self, stored: NDArray[np.int16]) -> NDArray[np.uint8]:
        """Classes of stored values; all are known."""
        table = np.zeros(max(self.classes) + 1, dtype=np.uint8)
        for value, index in self.classes.items():
            table[value] = index
        return table[stored]


def plain_labelling(labels: Mapping[str, str]) -> Labelling:
    """The labels of an MSD data set: values 0 .. k-1 to names."""
    names = sorted(labels.items(), key=lambda item: int(item[0]))
    return Labelling({int(value): int(value) for value, _ in names}, tuple(str(name) for _, name in names))


def nnunet_labelling(description: Mapping[str, Any]) -> Labelling:
    """The labels of an nnU-Net data set, by its label manager.

    Regions overlap (the whole tumour holds its core); an estimate, and Dice by class, need each voxel in one class.
    A voxel's class is what nnU-Net's export makes of a perfect prediction: regions are painted one over the other in
    the order of dataset.json, region i with the value `regions_class_order[i]`, so the last region that holds the
    voxel's stored value decides, and the class carries its name. With whole tumour (1, 2, 3), core (2, 3) and enhancing
    (3,) and the order 1, 2, 3, the class named whole tumour is the tumour without its core.

    Args:
        description: The content of dataset.json.

    Raises:
        InputError: The labels break a rule of nnU-Net: background is 0, values are consecutive, regions have an order,
            the ignore label is the highest.
    """
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    labels = description.get("labels")
    if not isinstance(labels, dict):
        raise InputError(f"dataset.json: labels must map names to values, got {labels}")
    try:
        manager = LabelManager(labels, description.get("regions_class_order"))
        values = [int(value) for value in manager.all_labels]
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"dataset.json: labels must follow nnU-Net's rules, got: {error}") from error
    if values != list(range(len(values))):
        raise InputError(f"dataset.json: labels must be consecutive values from 0, got {values}")
    ignored = {int(manager.ignore_label): IGNORED} if manager.has_ignore_label else {}
    named = {name: value for name, value in labels.items() if name != "ignore"}
    if not manager.has_regions:
        names = {_single(value): str(name) for name, value in named.items()}
        return Labelling({value: value for value in values} | ignored, tuple(names[value] for value in values))
    painted = _painted(named, manager.regions_class_order, values)
    order = sorted({value for value, _ in painted.values()})
    names = {value: name for value, name in painted.values()}
    indices = {stored: order.index(value) for stored, (value, _) in painted.items()}
    return Labelling(indices | ignored, tuple(names[value] for value in order))


def _painted(named: Mapping[str, Any], order: list[int], values: list[int]) -> dict[int, tuple[int, str]]:
    """Stored value -> the value and name that the last region holding it paints."""
    regions = [(name, _several(value)) for name, value in named.items() if set(_several(value)) != {0}]
    painted = {value: (0, "background") for value in values}
    for (name, region), value in zip(regions, order, strict=True):
        painted |= {stored: (int(value), str(name)) for stored in region}
    return painted


def _several(value: Any) -> tuple[int, ...]:
    return tuple(int(one) for one in value) if isinstance(value, list | tuple) else (int(value),)


def _single(value: Any) -> int:
    return _several(value)[0]
