"""The slices that a 3D Swin UNETR merges between its stages; weights trained with one form need the same form.

Between two stages the eight half-resolution slices of a map are concatenated over channels. MONAI up to 1.4.0, and
classes copied from it (SuPreM, VoCo), take two of them twice and leave out two; MONAI from 1.5.0 on takes all eight.
The tensors are the same. In two dimensions there is only one form.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from monai.networks.nets.swin_unetr import PatchMerging, PatchMergingV2
from torch import Tensor
from torch.nn import functional

from benchmark.errors import InputError
from benchmark.sources.weights.digest import weights_digest
from benchmark.sources.weights.family import LATEST

EARLY = "monai_1.4"
CHANGED = (1, 5)  # the first version of MONAI that merges all slices
RELEASED = datetime(2025, 6, 6, tzinfo=UTC)  # no file that is older was trained with MONAI 1.5
FIRST = datetime(2021, 6, 1, tzinfo=UTC)  # no Swin UNETR is older; an earlier date means nothing
SLICES = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1))


class EarlyPatchMerging(PatchMergingV2):  # type: ignore[misc]  # MONAI is not typed
    """Patch merging as in MONAI up to 1.4.0."""

    def forward(self, x: Tensor) -> Tensor:
        """Merge (b, D, H, W, c) to (b, D/2, H/2, W/2, 2c); odd sides are padded."""
        _, depth, height, width, _ = x.shape
        if depth % 2 or height % 2 or width % 2:
            x = functional.pad(x, (0, 0, 0, width % 2, 0, height % 2, 0, depth % 2))
        x = torch.cat([x[:, i::2, j::2, k::2, :] for i, j, k in SLICES], -1)
        return cast("Tensor", self.reduction(self.norm(x)))


DEFAULT = "merging"  # SwinUNETR's name for the form of the installed MONAI
MERGING: dict[str, object] = {EARLY: EarlyPatchMerging, LATEST: PatchMerging, "mergingv2": "mergingv2"}


@dataclass(frozen=True)
class ShownMerging:
    """The form that a file shows, though not by its tensors.

    Attributes:
        form: A key of `MERGING`.
        why: The evidence, in words.
        certain: Whether no other form is possible; a date rules out the newest only.
    """

    form: str
    why: str
    certain: bool = True

    @property
    def note(self) -> str:
        """One line with the form and its evidence."""
        return f"{'' if self.certain else 'assumed: '}merging = {self.form}: {self.why}"


@dataclass(frozen=True)
class MergedNetwork:
    """A network factory, a note on its merging, and `merging` as an assumption unless it is certain."""

    network: Any
    notes: tuple[str, ...] = ()
    assumed: Mapping[str, object] = field(default_factory=dict)


def with_merging(network: str, settings: Mapping[str, object], *, source: str) -> dict[str, Any]:
    """The settings of a network; SwinUNETR's `merging` becomes, or overrides, its argument `downsample`.

    Raises:
        InputError: `merging` is unknown.
    """
    own = dict(settings)
    merging = own.pop("merging", None) if network == "SwinUNETR" else None
    if merging is None:
        return own
    if merging not in MERGING:
        raise InputError(f"source {source}: settings.merging must be one of {', '.join(MERGING)}, got {merging!r}")
    return own | {"downsample": MERGING[merging]}


def merged_network(network: Any, shown: ShownMerging | None) -> MergedNetwork:
    """Make the factory of a 3D Swin UNETR merge as its file shows.

    Args:
        network: The factory; another network than a Swin UNETR, or one whose `downsample` is set, is not changed.
        shown: The form; None: unknown.
    """
    settings = getattr(network, "keywords", {})
    is_swin = getattr(getattr(network, "func", network), "__name__", "") == "SwinUNETR"
    if not is_swin or settings.get("spatial_dims", 3) != 3 or settings.get("downsample", DEFAULT) != DEFAULT:
        return MergedNetwork(network)
    if shown is None:
        assumed = {"merging": LATEST}
        return MergedNetwork(network, (f"assumed, since no tensor shows it: merging = {LATEST}",), assumed)
    made = partial(network, downsample=MERGING[shown.form])
    return MergedNetwork(made, (shown.note,), {} if shown.certain else {"merging": shown.form})


def merging_of_version(version: str) -> str | None:
    """The form of a version of MONAI; None if the text is not a version.

    Example:
        >>> merging_of_version("1.4.0"), merging_of_version("1.10.1"), merging_of_version("unknown")
        ('monai_1.4', 'monai_1.5', None)
    """
    match = re.match(r"\s*v?(\d+)\.(\d+)", version)
    if match is None:
        return None
    return EARLY if (int(match[1]), int(match[2])) < CHANGED else LATEST


def merging_of_file(path: Path, names: Iterable[str]) -> ShownMerging | None:
    """The form that a weights file shows by the names of its tensors or by its date; None if unknown."""
    if any(name.endswith("organ_embedding") for name in names):
        return ShownMerging(EARLY, "the file has SuPreM's text-driven head, and SuPreM's class merges so")
    if written := _older_than_change(path):
        return ShownMerging(EARLY, f"the file was written on {written:%Y-%m-%d}, before MONAI 1.5.0", certain=False)
    return None


def dated_digest(path: Path, *others: Path) -> str:
    """The digest of a weights file and others, which also shows whether the file's date decides how it merges."""
    digest = weights_digest(*others, path)
    return f"{digest} {EARLY}" if _older_than_change(path) else digest


def _older_than_change(path: Path) -> datetime | None:
    """When a file was written, if that was before MONAI 1.5.0; None if it was not, or the date means nothing."""
    written = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)
    return written if FIRST <= written < RELEASED else None
