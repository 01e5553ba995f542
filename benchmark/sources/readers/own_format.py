"""Read a source saved by this project: safetensors with a sidecar that describes the network."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from benchmark.data.preprocessing.normalise import ChannelSchemes, Normalisation, Scheme
from benchmark.data.preprocessing.preparation import Preparation, Resampling
from benchmark.errors import InputError
from benchmark.sources.model import Model
from benchmark.sources.networks.architecture import Architecture
from benchmark.sources.networks.skeleton import Network, shapes_of
from benchmark.sources.readers.candidates import Candidate, Contents, absolute_path, is_plain_file, names_below
from benchmark.sources.readers.network_description import described_network
from benchmark.sources.weights.checkpoint import SIDECAR, WEIGHTS, load_checkpoint
from benchmark.sources.weights.digest import weights_digest
from benchmark.sources.weights.former_arguments import without_fetching
from benchmark.sources.weights.match import Fit, check_shapes, check_values
from benchmark.sources.weights.safe_load import NETWORKS, literal, module_class, reported_as

NAMED = "_target_"  # Hydra's key of a class in a config
HYDRA = (NAMED, "_partial_", "_convert_")
DESCRIBED = "factory"  # key of the network's description in a sidecar's architecture
RECORDED = ("git_commit", "data_digest")


@dataclass(frozen=True)
class FileSource:
    """A folder with weights.safetensors and source.json; attributes as in `Reader`."""

    name: str
    path: str | Path
    trust: bool = False

    @classmethod
    def recognises(cls, path: Path) -> Contents | None:
        """Recognise a folder with source.json, or the weights in it."""
        folder = path.parent if path.name == WEIGHTS and path.is_file() else path
        sidecar, weights, place = folder / SIDECAR, folder / WEIGHTS, absolute_path(folder)
        if not sidecar.is_file():
            return None
        source = Candidate(cls, {"path": str(folder)}, names_below(place.parent, place.name, place.name), weights)
        candidates = (source,) if is_plain_file(weights) else ()
        return Contents(source, candidates, frozenset({sidecar, weights}), f"{SIDECAR} without {WEIGHTS}")

    def digest(self) -> str:
        """SHA-256 over both files."""
        return weights_digest(Path(self.path) / SIDECAR, Path(self.path) / WEIGHTS)

    def open(self) -> Model:
        """Read the checkpoint.

        Raises:
            InputError: A file is missing or corrupt, the sidecar lacks a key or names code, or weights do not match.
        """
        with reported_as(f"cannot build a network from {self.path}"):
            checkpoint = load_checkpoint(Path(self.path))
            facts, sidecar = checkpoint.facts, Path(self.path) / SIDECAR
            try:
                arch = described(facts["architecture"], where=f"{sidecar}: architecture", trust=self.trust)
                channels, classes = int(facts["channels"]), int(facts["classes"])
                labels = {int(value): str(name) for value, name in (facts.get("labels") or {}).items()}
                preparation = _preparation(facts)
            except InputError:
                raise
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise InputError(f"{sidecar} does not describe the network: {error!r}") from error
            check_shapes(shapes_of(arch.network, channels=channels, classes=classes), checkpoint.weights, self.name)
            check_values(checkpoint.weights, self.name)
            recorded = {name: facts[name] for name in RECORDED if facts.get(name)} | dict(facts.get("facts") or {})
            own = {"kind": "file", "path": str(self.path)}
            return Fit(checkpoint.weights, channels, classes, ()).model(
                self.name,
                arch,
                facts=own | recorded | own,
                labels=labels,
                preparation=preparation,
                patch=facts.get("patch") or ((facts.get("config") or {}).get("budget") or {}).get("patch"),
                notes=[str(note) for note in facts.get("notes") or ()],
            )


def described(node: Mapping[str, Any], *, where: str, trust: bool = False) -> Architecture:
    """The architecture in a sidecar, whose network is described, or is in a config as in conf/arch.

    Raises:
        InputError: A class is refused, or a value is not plain.
    """
    known = {field.name for field in fields(Architecture)} - {"network"}
    values = {name: _frozen(value) for name, value in node.items() if name in known}
    if DESCRIBED in node:
        network = described_network(node[DESCRIBED], where=f"{where}.{DESCRIBED}", trust=trust)
    else:
        network = _configured(node["network"], where=f"{where}.network", trust=trust)
    return Architecture(network=network, **values)


def _configured(config: Mapping[str, Any], *, where: str, trust: bool) -> Network:
    network = module_class(config[NAMED], within=NETWORKS, where=where, trust=trust)
    settings = {name: value for name, value in config.items() if name not in HYDRA}
    return partial(network, **without_fetching(network, literal(settings, where=where)))


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _preparation(facts: Mapping[str, Any]) -> Preparation | None:
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
        orientation=stored.get("orientation"),
        resampling=Resampling(resampling["image"], pairs["image"], resampling["labels"], pairs["labels"]),
        unknown=tuple(map(str, stored.get("unknown") or ())),
    )
