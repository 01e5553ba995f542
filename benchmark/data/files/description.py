"""What a data set's dataset.json says: its content, the paths that it lists, and the classes of stored label values."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmark.core.labels import IGNORED
from benchmark.errors import InputError, one_line
from benchmark.storage.files import read_json

Description: TypeAlias = dict[str, Any]  # the content of dataset.json
HINT = (
    "; for the embedded suite run `python -m benchmark.prepare` first, for `experiment=paper` set suite.msd to the "
    "folder of MSD's tasks"
)
NnunetLabels: TypeAlias = Mapping[str, int | list[int]]  # name -> stored value, or the values of a region


def read_description(folder: str | Path) -> Description:
    """Read the JSON object in a folder's dataset.json.

    Raises:
        InputError: The file is missing, or not a UTF-8 JSON object.
    """
    path = Path(folder) / "dataset.json"
    description = read_json(path, hint=HINT)
    if not isinstance(description, dict):
        raise InputError(f"{path} must be a JSON object, got {type(description).__name__}")
    return description


def inside(folder: str | Path, path: str | Path, *, links: bool = False) -> Path:
    """The absolute path of a file within a folder; a link keeps its own name, whose ending says how it is read.

    Args:
        folder: The folder.
        path: A path in it.
        links: Whether symbolic links may lead out of the folder.

    Raises:
        InputError: The path leads out of the folder, or a link does and `links` is False.
    """
    root = Path(folder).resolve()
    place = Path(os.path.normpath(root / path))
    if not place.is_relative_to(root):
        raise InputError(f"{folder}/dataset.json: paths must stay inside the folder, got {path}")
    try:
        resolved = place.resolve()
    except (OSError, RuntimeError) as error:  # links in a circle
        raise InputError(f"cannot read {place}: {one_line(error)}") from error
    if not links and not resolved.is_relative_to(root):
        raise InputError(f"{place} leads out of {folder} by a symbolic link, to {resolved}; links=true allows it")
    return place


@dataclass(frozen=True)
class Labelling:
    """Maps stored label values to exclusive classes.

    Attributes:
        classes: Stored value -> class 0 .. k-1, or IGNORED.
        names: Name of each class, 0 (the background) first.
    """

    classes: Mapping[int, int]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.names) > IGNORED:
            raise InputError(f"dataset.json must have at most {IGNORED} labels, got {len(self.names)}")

    def check(self, stored: NDArray[Any], path: Path) -> None:
        """Check that every stored value is a label.

        Raises:
            InputError: A value is not in dataset.json.
        """
        if unknown := sorted(set(np.unique(stored).tolist()) - set(self.classes)):
            raise InputError(f"cannot use {path}: label values must be in dataset.json {sorted(self.classes)}, "
                             f"got {unknown[0]:.9g}")  # fmt: skip

    def __call__(self, stored: NDArray[np.int16]) -> NDArray[np.uint8]:
        """Map stored values, all of them in `classes`, to classes."""
        table = np.zeros(max(self.classes) + 1, dtype=np.uint8)
        for value, index in self.classes.items():
            table[value] = index
        return table[stored]


def is_named_first(labels: object) -> bool:
    """Whether labels map names to values, as in nnU-Net v2, and not values to names, as in MSD and nnU-Net v1.

    Example:
        >>> is_named_first({"background": 0, "liver": 1}), is_named_first({"0": "background", "1": "liver"})
        (True, False)
    """
    if not isinstance(labels, dict) or not labels:
        return False
    return all(isinstance(value, int) and not str(name).isdigit() for name, value in labels.items())


def plain_labelling(labels: Mapping[str, str]) -> Labelling:
    """The labelling of an MSD data set, whose labels map values 0 .. k-1 to names."""
    names = sorted(labels.items(), key=lambda item: int(item[0]))
    return Labelling({int(value): int(value) for value, _ in names}, tuple(str(name) for _, name in names))


def nnunet_labelling(description: Description) -> Labelling:
    """The labelling of an nnU-Net data set, by nnU-Net's label manager.

    Regions overlap (the whole tumour includes its core), but metrics and Dice by class need each voxel in one class.
    A voxel's class is what nnU-Net's export makes of a perfect prediction: regions are painted over each other in the
    order of dataset.json, region i with the value `regions_class_order[i]`. So the last region that includes the
    voxel's stored value decides, and the class has its name. With whole tumour (1, 2, 3), core (2, 3), enhancing (3,)
    and the order 1, 2, 3, the class named whole tumour is the tumour without its core.

    Raises:
        InputError: The labels break a rule of nnU-Net: background is 0, values are consecutive, regions have an order,
            the ignore label is the highest.
    """
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    labels = description.get("labels")
    if not isinstance(labels, dict):
        raise InputError(f"dataset.json: labels must map names to values, got {labels}")
    if labels and all(str(key).isdigit() and not str(name).isdigit() for key, name in labels.items()):
        turned = json.dumps({str(name): int(value) for value, name in labels.items()})
        raise InputError("dataset.json: labels map values to names, as MSD and nnU-Net v1 have them; nnU-Net v2 maps "
                         f"names to values: write {turned}")  # fmt: skip
    try:
        manager = LabelManager(labels, description.get("regions_class_order"))
        values = [int(value) for value in manager.all_labels]
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"dataset.json: labels break a rule of nnU-Net: {error}") from error
    if values != list(range(len(values))):
        raise InputError(f"dataset.json: labels must be consecutive values from 0, got {values}")
    ignored = {int(manager.ignore_label): IGNORED} if manager.has_ignore_label else {}
    named = {name: value for name, value in labels.items() if name != "ignore"}
    if not manager.has_regions:
        names = {_several(value)[0]: str(name) for name, value in named.items()}
        return Labelling({value: value for value in values} | ignored, tuple(names[value] for value in values))
    painted = _painted(named, manager.regions_class_order, values)
    order = sorted({value for value, _ in painted.values()})
    names = dict(painted.values())
    indices = {stored: order.index(value) for stored, (value, _) in painted.items()}
    return Labelling(indices | ignored, tuple(names[value] for value in order))


def _painted(named: NnunetLabels, order: list[int], values: list[int]) -> dict[int, tuple[int, str]]:
    """Stored value -> the value and name of the last region that includes it."""
    regions = [(name, _several(value)) for name, value in named.items() if set(_several(value)) != {0}]
    painted = dict.fromkeys(values, (0, "background"))
    for (name, region), value in zip(regions, order, strict=True):
        painted |= dict.fromkeys(region, (int(value), str(name)))
    return painted


def _several(value: int | list[int] | tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(item) for item in value) if isinstance(value, list | tuple) else (int(value),)
