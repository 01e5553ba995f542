"""Arguments that MONAI removed or renamed: configs of older versions are read with the installed class."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.errors import is_whole

# arguments of MONAI's classes that fetch initial weights from the internet -> the value that fetches none
FETCHED: Mapping[str, object] = {"pretrained": False, "pretrained_url": None}
# class -> former argument -> its present name, or None if it only said which patches the network is used with
FORMER: Mapping[str, Mapping[str, str | None]] = {
    "SwinUNETR": {"img_size": None},  # removed in MONAI 1.5
    "UNETR": {"pos_embed": "proj_type"},  # renamed in MONAI 1.2
    "UNet": {"dimensions": "spatial_dims"},  # renamed in MONAI 0.6, like the next
    "BasicUNet": {"dimensions": "spatial_dims"},
}


@dataclass(frozen=True)
class PresentArguments:
    """The arguments of a network's class as the installed MONAI takes them.

    Attributes:
        settings: The arguments.
        patch: Voxels along each axis, or one number for all, of an argument that only named the patch; None: none did.
        notes: What was dropped or renamed, one line each.
    """

    settings: dict[str, Any]
    patch: int | Sequence[int] | None = None
    notes: tuple[str, ...] = ()


def present_arguments(network: type, settings: Mapping[str, object]) -> PresentArguments:
    """Drop or rename the arguments that MONAI once took and no longer does; unknown arguments are not changed.

    Initial weights, which those of the file replace, are not fetched.

    Args:
        network: The class.
        settings: Its arguments in a config.

    Example:
        >>> from monai.networks.nets import SwinUNETR
        >>> present_arguments(SwinUNETR, {"img_size": [96, 96, 96], "feature_size": 48})
        PresentArguments(settings={'feature_size': 48}, patch=[96, 96, 96], \
notes=('img_size of SwinUNETR, which MONAI no longer accepts, is used as its patch',))
    """
    present: dict[str, Any] = dict(settings)
    patch, notes = None, []
    accepted = inspect.signature(network).parameters
    for name, renamed in FORMER.get(network.__name__, {}).items():
        if name not in present or name in accepted:
            continue
        value, former = present.pop(name), f"{name} of {network.__name__}, which MONAI no longer accepts, is"
        if renamed is not None:
            present.setdefault(renamed, value)
            notes.append(f"{former} read as {renamed}")
        elif _is_patch(value):
            patch = value
            notes.append(f"{former} used as its patch")
        elif value is not None:
            notes.append(f"{former} dropped")
    offline = without_fetching(network, present)
    notes += [
        f"{name} of {network.__name__} is not used: the file's weights replace the initial ones"
        for name in FETCHED
        if present.get(name) and not offline[name]
    ]
    return PresentArguments(offline, patch, tuple(notes))


def without_fetching(network: Callable[..., Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with which a class of MONAI fetches no initial weights; those of other code are not changed.

    Example:
        >>> from monai.networks.nets import FlexibleUNet
        >>> without_fetching(FlexibleUNet, {"backbone": "resnet18", "pretrained": True})
        {'backbone': 'resnet18', 'pretrained': False}
    """
    if not network.__module__.startswith("monai."):
        return dict(settings)
    accepted = inspect.signature(network).parameters
    return {**settings, **{name: value for name, value in FETCHED.items() if name in accepted}}


def _is_patch(value: Any) -> bool:
    sides = value if isinstance(value, list | tuple) and value else [value]
    return all(is_whole(side, least=1) for side in sides)
