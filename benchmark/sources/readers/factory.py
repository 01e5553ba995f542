"""Build a source's network with the user's own function, which is imported and run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmark.errors import InputError
from benchmark.sources.model import Model
from benchmark.sources.networks.discover import discovered
from benchmark.sources.readers.candidates import FUNCTION, Candidate, Contents
from benchmark.sources.readers.named_code import code_digest, imported_function
from benchmark.sources.weights.match import Fit, check_labels, fitted
from benchmark.sources.weights.safe_load import read_state
from benchmark.sources.weights.swin_merging import dated_digest, merged_network, merging_of_file, with_merging
from benchmark.sources.weights.unwrap import Unwrapped
from benchmark.storage.digest import text_digest


@dataclass(frozen=True)
class FactorySource:
    """A Python function or class that builds the network, and its weights file; attributes not listed as in `Reader`.

    Attributes:
        factory: `package.module:function`, called with in_channels, out_channels and `settings`.
        path: The weights file; None: the network's initial weights.
        settings: Further arguments of the function.
        dims: 3, or 2.
        channels: Input channels without a weights file.
        classes: Channels of the head without a weights file.
        fixed: Whether `patch` is the only patch size that the network accepts.
    """

    name: str
    factory: str
    path: str | Path | None = None
    settings: Mapping[str, object] | None = None
    dims: int = 3
    channels: int = 1
    classes: int = 2
    labels: Mapping[int, str] | None = None
    patch: Sequence[int] | None = None
    fixed: bool = False
    prefix: str | None = None

    @classmethod
    def recognises(cls, path: str) -> Contents | None:
        """Recognise `package.module:function`."""
        if not FUNCTION.fullmatch(path) or Path(path).exists():
            return None
        module, _, function = path.partition(":")
        names = (function, f"{module.rpartition('.')[2]}:{function}", path)
        return Contents(Candidate(cls, {"factory": path}, names))

    def digest(self) -> str:
        """SHA-256 over the function's module and the weights file."""
        weights = dated_digest(Path(self.path)) if self.path else "initial"
        return text_digest(f"{code_digest(self.factory, source=self.name)} {weights}")

    def open(self) -> Model:
        """Build the network and read its weights.

        Raises:
            InputError: The function cannot be imported or called, or the weights are refused or do not match.
        """
        function = imported_function(self.factory, source=self.name)
        settings = with_merging(function.__name__, self.settings or {}, source=self.name)
        state = read_state(Path(self.path)) if self.path else Unwrapped({}, ())
        shown = merging_of_file(Path(self.path), state.weights) if self.path else None
        merged = merged_network(partial(function, **settings), shown)
        size = self.patch if self.fixed else None
        try:
            arch = discovered(self.factory, merged.network, dims=self.dims, channels=self.channels, size=size)
        except TypeError as error:
            rule = f"source {self.name}: {self.factory} must take in_channels, out_channels and settings"
            raise InputError(f"{rule}, got: {error}") from error
        if self.path:
            fit = fitted(arch, state.weights, source=self.name, prefix=self.prefix)
        else:
            untrained = arch.bare(channels=self.channels, classes=self.classes)
            fit = Fit(untrained.state_dict(), self.channels, self.classes, ("initial weights",))
        return fit.model(
            self.name,
            arch,
            facts={"kind": "factory", "factory": self.factory, "path": str(self.path or "")},
            assumed=merged.assumed,
            labels=check_labels(self.labels, fit, self.name),
            patch=self.patch,
            notes=(*state.notes, *merged.notes),
        )
