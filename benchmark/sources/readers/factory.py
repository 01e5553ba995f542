"""Build a source's network with the user's own function; to name a function is to run it."""

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from benchmark.errors import InputError
from benchmark.sources.model import Model
from benchmark.sources.networks.architecture import initial
from benchmark.sources.networks.discover import discovered
from benchmark.sources.readers.state_dict import assumptions, check_labels
from benchmark.sources.weights.match import Fit, fitted
from benchmark.sources.weights.safe_load import file_digest, read_weights, unwrap
from benchmark.sources.weights.swin_merging import dated_digest, merged_network, merging_of_file, with_merging
from benchmark.storage.digest import text_digest


@dataclass(frozen=True)
class FactorySource:
    """A Python function or class that builds the network, and its weights file.

    Attributes:
        name: The source's name.
        factory: `package.module:function`, called with in_channels, out_channels and `settings`.
        path: The weights file; None: the network's initial weights.
        settings: Further arguments of the function.
        dims: 3, or 2.
        channels: Input channels without a weights file.
        classes: Channels of the head without a weights file.
        labels: Label value -> class name in its training data, if known.
        patch: (3,) voxels of its training windows, if known.
        fixed: Whether `patch` is the only patch size that the network accepts.
        prefix: Prefix of the network's tensors if the file contains several networks.
    """

    name: str
    factory: str
    path: str | Path | None = None
    settings: Mapping[str, Any] | None = None
    dims: int = 3
    channels: int = 1
    classes: int = 2
    labels: Mapping[int, str] | None = None
    patch: Sequence[int] | None = None
    fixed: bool = False
    prefix: str | None = None

    def digest(self) -> str:
        """SHA-256 over the function's module and the weights file."""
        place = inspect.getsourcefile(self._function())
        code = file_digest(Path(place)) if place else self.factory
        weights = dated_digest(Path(self.path)) if self.path else "initial"
        return text_digest(f"{code} {weights}")

    def open(self) -> Model:
        """Build the network and read its weights.

        Raises:
            InputError: The function cannot be imported or called, or the weights are refused or do not match.
        """
        function, settings = self._function(), dict(self.settings or {})
        settings = with_merging(settings, source=self.name) if function.__name__ == "SwinUNETR" else settings
        state = unwrap(read_weights(Path(self.path)), Path(self.path)) if self.path else None
        shown = merging_of_file(Path(self.path), state.weights) if self.path and state else None
        merged = merged_network(partial(function, **settings), shown)
        network: Callable[..., nn.Module] = merged.network
        size = self.patch if self.fixed else None
        try:
            arch = discovered(self.factory, network, dims=self.dims, channels=self.channels, size=size)
        except TypeError as error:
            raise InputError(f"source {self.name}: {self.factory} must take in_channels, out_channels and settings, "
                             f"got: {error}") from error  # fmt: skip
        if state is None:
            made = initial(network, channels=self.channels, classes=self.classes, seed=0)
            fit = Fit(made.state_dict(), self.channels, self.classes, ("initial weights",))
        else:
            fit = fitted(network, state.weights, source=self.name, prefix=self.prefix, head=arch.head,
                         decoder=arch.decoder)  # fmt: skip
        return Model(
            name=self.name,
            arch=arch,
            weights=fit.weights,
            channels=fit.channels,
            classes=fit.classes,
            labels=check_labels(self.labels, fit, self.name),
            patch=arch.fit(self.patch) if self.patch else None,
            facts={"kind": "factory", "factory": self.factory, "path": str(self.path or "")}
            | ({"assumed": assumptions(merged.assumed)} if merged.assumed else {}),
            notes=(*(state.notes if state else ()), *merged.notes, *fit.notes),
            head=fit.head,
        )

    def _function(self) -> Callable[..., nn.Module]:
        module, _, name = self.factory.partition(":")
        try:
            found: Callable[..., nn.Module] = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise InputError(f"source {self.name}: factory must be package.module:function, got {self.factory}: {error}"
                             ) from error  # fmt: skip
        return found
