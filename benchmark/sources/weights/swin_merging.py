"""Which slices a 3D Swin UNETR merges between its stages: weights of one form give other features in another.

Between two stages the eight half-resolution slices of a map are concatenated over channels. MONAI up to 1.4.0, and the
classes that were copied from it (SuPreM, VoCo), took two of them twice and left out two; MONAI from 1.5.0 on takes all
eight. The tensors are the same. In two dimensions there is one form.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets.swin_unetr import PatchMerging, PatchMergingV2
from torch import Tensor
from torch.nn import functional

from benchmark.errors import InputError
from benchmark.sources.weights.safe_load import file_digest

EARLY, LATEST = "monai_1.4", "monai_1.5"
CHANGED = (1, 5)  # the version of MONAI that took the other slices
RELEASED = datetime(2025, 6, 6, tzinfo=UTC)  # no file that is older was trained with MONAI 1.5
FIRST = datetime(2021, 6, 1, tzinfo=UTC)  # nor is a Swin UNETR older than this: such a date is no date
SLICES = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1))


class EarlyPatchMerging(PatchMergingV2):  # type: ignore[misc]  # MONAI is not typed
    """Patch merging as MONAI up to 1.4.0 has it."""

    def forward(self, x: Tensor) -> Tensor:
        """Merge (b, D, H, W, c) to (b, D/2, H/2, W/2, 2c); sides are padded to even ones."""
        _, depth, height, width, _ = x.shape
        if depth % 2 or height % 2 or width % 2:
            x = functional.pad(x, (0, 0, 0, width % 2, 0, height % 2, 0, depth % 2))
        x = torch.cat([x[:, i::2, j::2, k::2, :] for i, j, k in SLICES], -1)
        merged: Tensor = self.reduction(self.norm(x))
        return merged


DEFAULT = "merging"  # the class's own word for the form that its version of MONAI has
MERGING: dict[str, Any] = {EARLY: EarlyPatchMerging, LATEST: PatchMerging, "mergingv2": "mergingv2"}


@dataclass(frozen=True)
class ShownMerging:
    """The form that something beside the tensors shows.

    Attributes:
        form: The form.
        why: What shows it, in words.
        certain: Whether no other form is possible; a date rules out the newest only.
    """

    form: str
    why: str
    certain: bool = True


@dataclass(frozen=True)
class MergedNetwork:
    """A network factory whose Swin UNETR merges as its file shows.

    Attributes:
        network: The factory.
        notes: What there is to say of it.
        assumed: `merging`, where it is not certain.
    """

    network: Any
    notes: tuple[str, ...] = ()
    assumed: Mapping[str, str] = field(default_factory=dict)


def with_merging(settings: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """Settings of SwinUNETR with `merging` as the class's own argument `downsample`.

    Args:
        settings: Arguments of SwinUNETR, and maybe `merging`, which wins over `downsample`.
        source: The source's name, for errors.

    Raises:
        InputError: `merging` is unknown.
    """
    own = dict(settings)
    merging = own.pop("merging", None)
    if merging is None:
        return own
    if merging not in MERGING:
        raise InputError(f"source {source}: settings.merging must be one of {', '.join(MERGING)}, got {merging!r}")
    return own | {"downsample": MERGING[merging]}


def merged_network(network: Any, shown: ShownMerging | None) -> MergedNetwork:
    """A network factory whose 3D Swin UNETR merges as its file shows.

    Args:
        network: The factory; any other network than a Swin UNETR, or one whose `downsample` is set, stays as it is.
        shown: The form, and what shows it; None: nothing does.
    """
    settings = getattr(network, "keywords", {})
    is_swin = getattr(getattr(network, "func", network), "__name__", "") == "SwinUNETR"
    if not is_swin or settings.get("spatial_dims", 3) != 3 or settings.get("downsample", DEFAULT) != DEFAULT:
        return MergedNetwork(network)
    if shown is None:
        assumed = {"merging": LATEST}
        return MergedNetwork(network, (f"assumed, since no tensor shows it: merging = {LATEST}",), assumed)
    made = partial(network, downsample=MERGING[shown.form])
    return MergedNetwork(made, (merging_note(shown),), {} if shown.certain else {"merging": shown.form})


def merging_note(shown: ShownMerging) -> str:
    """What is said of a form."""
    return f"{'' if shown.certain else 'assumed: '}merging = {shown.form}: {shown.why}"


def merging_of_version(version: str) -> str | None:
    """The form that a version of MONAI has; None where the text is no version.

    Example:
        >>> merging_of_version("1.4.0"), merging_of_version("1.10.1"), merging_of_version("unknown")
        ('monai_1.4', 'monai_1.5', None)
    """
    match = re.match(r"\s*v?(\d+)\.(\d+)", version)
    if match is None:
        return None
    return EARLY if (int(match[1]), int(match[2])) < CHANGED else LATEST


def merging_of_file(path: Path, names: Iterable[str]) -> ShownMerging | None:
    """The form that a file of weights shows by what lies in it or by its date; None where nothing shows it.

    Args:
        path: The file.
        names: Of its tensors.
    """
    if any(name.endswith("organ_embedding") for name in names):
        return ShownMerging(EARLY, "the file has SuPreM's text-driven head, and SuPreM's class merges so")
    if written := older_than_change(path):
        return ShownMerging(EARLY, f"the file was written on {written:%Y-%m-%d}, before MONAI 1.5.0", certain=False)
    return None


def dated_digest(path: Path, *others: Path) -> str:
    """What identifies a file of weights, and others: their content, and whether its date decides how it merges."""
    digest = file_digest(*others, path)
    return f"{digest} {EARLY}" if older_than_change(path) else digest


def older_than_change(path: Path) -> datetime | None:
    """When a file was written, if that was before MONAI 1.5.0; None where its date says nothing."""
    written = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)
    return written if FIRST <= written < RELEASED else None
