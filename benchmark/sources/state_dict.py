"""A source that is a file of weights: the network is named, or recognised by the weights' names and shapes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from benchmark.errors import InputError
from benchmark.sources.allowed import monai_class
from benchmark.sources.architecture import Architecture
from benchmark.sources.discover import discovered
from benchmark.sources.fitting import Fit, fitted
from benchmark.sources.model import Model
from benchmark.sources.shapes import guess
from benchmark.sources.weights import Unwrapped, file_digest, read_weights, unwrap


@dataclass(frozen=True)
class StateDictSource:
    """Weights that torch.save or safetensors wrote.

    Attributes:
        name: The source's name.
        path: The file.
        arch: Its network; None: recognised.
        settings: Arguments of a recognised network, which win over what the weights tell.
        labels: Label value -> class name of the data that it was trained on, where known.
        patch: (3,) voxels of the windows that it was trained on, where known.
        prefix: What stands before the network's names where one file holds several networks.
    """

    name: str
    path: str | Path
    arch: Architecture | None = None
    settings: Mapping[str, Any] | None = None
    labels: Mapping[int, str] | None = None
    patch: Sequence[int] | None = None
    prefix: str | None = None

    def digest(self) -> str:
        """SHA-256 over the file."""
        return file_digest(Path(self.path))

    def open(self) -> Model:
        """Read it.

        Raises:
            InputError: The file is unreadable or refused, no network is recognised, or the weights do not fit it.
        """
        content = self._content
        told: list[str] = []
        arch = self.arch
        if arch is None:
            arch, told = recognised(content.weights, source=self.name, settings=self.settings or {})
        fit = fitted(arch.network, content.weights, source=self.name, prefix=self.prefix)
        patch = arch.size or self.patch
        return Model(
            name=self.name,
            arch=arch,
            weights=fit.weights,
            channels=fit.channels,
            classes=fit.classes,
            labels=check_labels(self.labels, fit, self.name),
            patch=arch.fit(patch) if patch else None,
            facts={"kind": "state dict", "path": str(self.path)},
            notes=(*content.notes, *told, *fit.notes),
        )

    @cached_property
    def _content(self) -> Unwrapped:
        path = Path(self.path)
        return unwrap(read_weights(path), path)


def recognised(
    weights: Mapping[str, Tensor], *, source: str, settings: Mapping[str, Any]
) -> tuple[Architecture, list[str]]:
    """One of MONAI's networks by the weights' names and shapes, and what was assumed of it.

    Raises:
        InputError: None has such names, or its class refuses the settings.
    """
    found = guess({name: tuple(tensor.shape) for name, tensor in weights.items()}, source=source, given=settings)
    network: partial[nn.Module] = partial(
        monai_class(found.network, where=f"source {source}: the network"), **found.settings
    )
    size = found.settings.get("img_size")
    try:
        arch = discovered(found.network.lower(), network, dims=found.dims, size=size)
    except (TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"source {source}: settings must suit {found.network}, got: {error}") from error
    notes = [f"recognised as {found.network} by its weights"]
    notes += [f"{name} = {value} is assumed, since no weight tells it" for name, value in found.assumed.items()]
    return arch, notes


def check_labels(labels: Mapping[int, str] | None, fit: Fit, source: str) -> dict[int, str]:
    """Labels as given, where they are as many as the head has channels.

    Raises:
        InputError: They are not.
    """
    if labels and len(labels) != fit.classes:
        raise InputError(f"source {source}: labels must name the head's {fit.classes} channels, got {len(labels)}")
    return {int(value): name for value, name in (labels or {}).items()}
