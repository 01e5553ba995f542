"""Read a source saved by this project: safetensors with a sidecar that describes the network."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from benchmark.data.preprocessing.normalise import Normalisation
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.preprocessing.resampling import Resampling
from benchmark.data.preprocessing.schemes import ChannelSchemes, Scheme
from benchmark.errors import InputError
from benchmark.sources.model import Model
from benchmark.sources.networks.architecture import Architecture
from benchmark.sources.weights.checkpoint import SIDECAR, WEIGHTS, load_checkpoint
from benchmark.sources.weights.corrupt_files import described_by
from benchmark.sources.weights.match import check_shapes, check_values, shapes_of
from benchmark.sources.weights.safe_load import file_digest
from benchmark.sources.weights.trusted_classes import NETWORKS, literal, module_class

NAMED = "_target_"  # Hydra's key of a class in a config
HYDRA = (NAMED, "_partial_", "_convert_")


@dataclass(frozen=True)
class FileSource:
    """A folder with weights.safetensors and source.json.

    Attributes:
        name: The source's name.
        path: The folder.
        trust: Allow a network class of any package.
    """

    name: str
    path: str | Path
    trust: bool = False

    def digest(self) -> str:
        """SHA-256 over both files."""
        return file_digest(Path(self.path) / SIDECAR, Path(self.path) / WEIGHTS)

    def open(self) -> Model:
        """Read the checkpoint.

        Raises:
            InputError: A file is missing or corrupt, the sidecar lacks a key or names code, or weights do not match.
        """
        with described_by(self.path):
            return self._open()

    def _open(self) -> Model:
        checkpoint = load_checkpoint(Path(self.path))
        facts, sidecar = checkpoint.facts, Path(self.path) / SIDECAR
        try:
            arch = described(facts["architecture"], where=f"{sidecar}: architecture", trust=self.trust)
            channels, classes = int(facts["channels"]), int(facts["classes"])
            labels = {int(value): str(name) for value, name in (facts.get("labels") or {}).items()}
            preparation = _preparation(facts)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{sidecar} does not describe the network: {error!r}") from error
        check_shapes(shapes_of(arch.network, channels=channels, classes=classes), checkpoint.weights, self.name)
        check_values(checkpoint.weights, self.name)
        patch = ((facts.get("config") or {}).get("budget") or {}).get("patch")
        return Model(
            name=self.name,
            arch=arch,
            weights=checkpoint.weights,
            channels=channels,
            classes=classes,
            labels=labels,
            preparation=preparation,
            patch=arch.fit(patch) if patch else None,
            facts={"kind": "file", "path": str(self.path)}
            | {name: facts[name] for name in ("git_commit", "data_digest") if facts.get(name)},
        )


def described(node: Mapping[str, Any], *, where: str, trust: bool = False) -> Architecture:
    """The architecture in a sidecar's config; only the network's class is imported.

    Args:
        node: The resolved config of an architecture, as in conf/arch.
        where: The file and field, for errors.
        trust: Allow a network class of any package.
    """
    inner = dict(node["network"])
    network = module_class(inner[NAMED], within=NETWORKS, where=f"{where}.network", trust=trust)
    settings = {name: value for name, value in inner.items() if name not in HYDRA}
    known = {field.name for field in fields(Architecture)}
    values = {name: _frozen(value) for name, value in node.items() if name in known and name != "network"}
    return Architecture(network=partial(network, **literal(settings, where=f"{where}.network")), **values)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _preparation(facts: Mapping[str, Any]) -> Preparation | None:
    """The preparation of the training data; None if the sidecar has none."""
    stored = facts.get("preparation")
    if stored is None:
        return None
    inner, resampling = stored["normalisation"], stored["resampling"]
    schemes = tuple(Scheme(**scheme) for scheme in inner["schemes"]) if "schemes" in inner else ()
    pairs = {name: tuple(map(tuple, resampling[f"{name}_settings"])) for name in ("image", "labels")}
    return Preparation(
        ChannelSchemes(schemes) if schemes else Normalisation(_frozen(inner["window"])),
        spacing=_frozen(stored["spacing"]),
        transpose=_frozen(stored["transpose"]),
        crop=bool(stored["crop"]),
        resampling=Resampling(resampling["image"], pairs["image"], resampling["labels"], pairs["labels"]),
    )
