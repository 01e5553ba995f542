"""Read a weights file; its network is given, or recognised by the names and shapes of the weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from benchmark.errors import InputError
from benchmark.sources.model import Model
from benchmark.sources.networks.architecture import Architecture
from benchmark.sources.networks.discover import discovered
from benchmark.sources.weights.match import Allowed, Fit, fitted
from benchmark.sources.weights.monai_signatures import Guess, current_names, first_names, guess
from benchmark.sources.weights.safe_load import Unwrapped, read_weights, unwrap
from benchmark.sources.weights.swin_merging import (
    ShownMerging,
    dated_digest,
    merged_network,
    merging_note,
    merging_of_file,
    with_merging,
)
from benchmark.sources.weights.trusted_classes import monai_class


@dataclass(frozen=True)
class StateDictSource:
    """A weights file written by torch.save or safetensors.

    Attributes:
        name: The source's name.
        path: The file.
        arch: The network; None: recognised.
        settings: Arguments of a recognised network, which override those that the weights show.
        labels: Label value -> class name in its training data, if known.
        patch: (3,) voxels of its training windows, if known.
        prefix: Prefix of the network's tensors if the file contains several networks.
    """

    name: str
    path: str | Path
    arch: Architecture | None = None
    settings: Mapping[str, Any] | None = None
    labels: Mapping[int, str] | None = None
    patch: Sequence[int] | None = None
    prefix: str | None = None

    def digest(self) -> str:
        """SHA-256 over the file, and whether it predates a change in MONAI."""
        return dated_digest(Path(self.path))

    def open(self) -> Model:
        """Read the weights.

        Raises:
            InputError: The file is unreadable or refused, no network is recognised, or the weights do not match it.
        """
        content = self._content
        merging = merging_of_file(Path(self.path), content.weights)
        if self.arch is not None:
            merged = merged_network(self.arch.network, merging)
            fit = fitted(
                merged.network,
                content.weights,
                source=self.name,
                prefix=self.prefix,
                head=self.arch.head,
                decoder=self.arch.decoder,
            )
            arch = replace(self.arch, network=merged.network)
            return self._model(arch, fit, (*content.notes, *merged.notes), assumed=merged.assumed)
        start = self.prefix or ""
        own = {name.removeprefix(start): tensor for name, tensor in content.weights.items() if name.startswith(start)}
        found = recognised(own, source=self.name, settings=self.settings or {}, merging=merging)
        fit = fitted(
            found.arch.network,
            found.weights,
            source=self.name,
            prefix=found.guess.prefix if self.prefix is None else "",
            head=found.arch.head,
            decoder=found.arch.decoder,
            allowed=Allowed(found.guess.family.extras, found.guess.family.idle, whole=True),
        )
        return self._model(found.arch, fit, (*content.notes, *found.notes), assumed=found.guess.assumed)

    def _model(
        self, arch: Architecture, fit: Fit, notes: Sequence[str], *, assumed: Mapping[str, Any] | None = None
    ) -> Model:
        patch = arch.size or self.patch
        facts = {"kind": "state dict", "path": str(self.path)}
        return Model(
            name=self.name,
            arch=arch,
            weights=fit.weights,
            channels=fit.channels,
            classes=fit.classes,
            labels=check_labels(self.labels, fit, self.name),
            patch=arch.fit(patch) if patch else None,
            facts=facts | ({"assumed": assumptions(assumed)} if assumed else {}),
            notes=(*notes, *fit.notes),
            head=fit.head,
        )

    @cached_property
    def _content(self) -> Unwrapped:
        path = Path(self.path)
        return unwrap(read_weights(path), path)


@dataclass(frozen=True)
class Recognised:
    """A recognised network.

    Attributes:
        arch: The network with the names of its parts.
        guess: Its class and settings.
        weights: The state dict under MONAI's present names.
        notes: Recognised and assumed settings, one line each.
    """

    arch: Architecture
    guess: Guess
    weights: Mapping[str, Tensor]
    notes: tuple[str, ...]


def recognised(
    weights: Mapping[str, Tensor],
    *,
    source: str,
    settings: Mapping[str, Any],
    merging: ShownMerging | None = None,
) -> Recognised:
    """Recognise one of MONAI's networks by the names and shapes of the weights.

    Args:
        weights: The state dict.
        source: The source's name, for errors.
        settings: The user's settings of the network, which override those that the weights show.
        merging: The merging of a Swin UNETR that the file shows by other means than its weights.

    Raises:
        InputError: No network matches, or its class refuses the settings.
    """
    renamed = current_names(weights)
    current = first_names(renamed) | renamed
    found = guess(current, source=source, given=settings)
    merging_notes = []
    if merging and "merging" in found.assumed:
        found = found.with_setting("merging", merging.form, certain=merging.certain)
        merging_notes = [merging_note(merging)]
    arguments = with_merging(found.settings, source=source) if found.network == "SwinUNETR" else found.settings
    network: partial[nn.Module] = partial(
        monai_class(found.network, where=f"source {source}: the network"), **arguments
    )
    try:
        size = found.settings.get("img_size")
        size = [size] * found.dims if isinstance(size, int) else size
        arch = discovered(found.network.lower(), network, dims=found.dims, size=size)
    except (TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"source {source}: {found.network} does not take the settings {found.settings}: {error}"
        ) from error
    notes = [f"recognised as {found.network} by its weights", *merging_notes]
    if list(renamed) != list(weights):
        notes.append("its tensors have the names of MONAI up to 0.3")
    if found.assumed:
        notes.append(f"assumed, since no tensor shows it: {assumptions(found.assumed)}")
    return Recognised(arch, found, current, tuple(notes))


def assumptions(assumed: Mapping[str, Any]) -> str:
    """Format settings for notes.

    Example:
        >>> assumptions({"act": "relu", "strides": [2, 2]})
        'act = relu, strides = [2, 2]'
    """
    return ", ".join(f"{name} = {getattr(value, '__name__', value)}" for name, value in assumed.items())


def check_labels(labels: Mapping[int, str] | None, fit: Fit, source: str) -> dict[int, str]:
    """Check that there are as many labels as channels of the head, and return them.

    Raises:
        InputError: The numbers differ.
    """
    if labels and fit.head and len(labels) != fit.classes:
        raise InputError(f"source {source}: labels must name the head's {fit.classes} channels, got {len(labels)}")
    return {int(value): name for value, name in (labels or {}).items()}
