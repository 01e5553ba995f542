"""Read a MONAI bundle: a folder with configs/metadata.json, a config that names the network, and weights.

Cardoso et al., MONAI: an open-source framework for deep learning in healthcare, 2022, arXiv 2211.02701. A bundle's
config may contain expressions, which are code. They are evaluated only if the user trusts the bundle; otherwise the
network must be one of MONAI's own, and its arguments plain values.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from benchmark.errors import InputError, one_line
from benchmark.sources.model import Model
from benchmark.sources.networks.discover import discovered
from benchmark.sources.readers.candidates import Candidate, Contents, absolute_path, is_plain_file, names_below
from benchmark.sources.weights.match import fitted
from benchmark.sources.weights.safe_load import SUFFIXES, literal, monai_class, read_state, reported_as
from benchmark.sources.weights.swin_merging import (
    ShownMerging,
    dated_digest,
    merged_network,
    merging_of_file,
    merging_of_version,
    with_merging,
)

METADATA = Path("configs", "metadata.json")
DEFAULT = "model.pt"
CONFIGS = ("inference", "train", "evaluate")
NETWORKS = ("network_def", "network", "net")  # keys of the network in bundles
OWN = ("_target_", "_desc_", "_requires_", "_disabled_", "in_channels", "out_channels")


@dataclass(frozen=True)
class BundleSource:
    """The folder of a MONAI bundle; attributes not listed as in `Reader`.

    Attributes:
        config: The file in configs/ that names the network; None: inference, else train.
        weights: The file in models/; None: model.pt, or the only weights file.
        settings: Arguments of the network, which override the config's.
    """

    name: str
    path: str | Path
    config: str | None = None
    weights: str | None = None
    settings: Mapping[str, object] | None = None
    trust: bool = False

    @classmethod
    def recognises(cls, path: Path) -> Contents | None:
        """Recognise a bundle's folder; in a pool, each of its weights files is a source."""
        if not (path / METADATA).is_file():
            return None
        place, settings = absolute_path(path), {"path": str(path)}
        files = [file for file in _weights_files(path) if is_plain_file(file) and not file.parent.is_symlink()]
        sources = []
        for file in files:
            parts = ((file.stem, Path(DEFAULT).stem), (file.name, DEFAULT))
            ends = ("" if len(files) == 1 or part == default else f"/{part}" for part, default in parts)
            names = names_below(place.parent, *(f"{place.name}{end}" for end in ends))
            chosen = {} if file.name == DEFAULT else {"weights": file.name}
            sources.append(Candidate(cls, settings | chosen, names, file))
        source = Candidate(cls, settings, names_below(place.parent, place.name))
        owned = frozenset({*files, *(path / "configs").glob("*")})
        return Contents(source, tuple(sources), owned, "a MONAI bundle without a weights file in models")

    def digest(self) -> str:
        """SHA-256 over metadata, config and weights."""
        return dated_digest(self._weights_file(), Path(self.path) / METADATA, self._config_file())

    def open(self) -> Model:
        """Read the bundle.

        Raises:
            InputError: A file or key is missing, code would have to run, or the weights do not match the network.
        """
        with reported_as(f"cannot build a network from {self.path}"):
            metadata = _read(Path(self.path) / METADATA)
            config, weights = self._config_file(), self._weights_file()
            where = f"{config}: the network"
            named, settings = (_evaluated if self.trust else _plain)(config, where)
            settings = {
                name: value for name, value in (settings | dict(self.settings or {})).items() if name not in OWN
            }
            cls = monai_class(named, where=where, trust=self.trust)
            settings = with_merging(cls.__name__, settings, source=self.name)
            size = settings.get("img_size")
            dropped, taken = [], None
            if cls.__name__ == "SwinUNETR" and settings.pop("img_size", None) is not None:  # MONAI 1.5 removed it
                taken = [size] * 3 if isinstance(size, int) else size
                size, dropped = None, ["img_size of SwinUNETR, which MONAI no longer accepts, is used as its patch"]
            state = read_state(weights)
            merged = merged_network(partial(cls, **settings), _merging(metadata, weights, state.weights))
            image, labels = _described(metadata)
            dims = int(settings.get("spatial_dims", 3))
            with reported_as(f"{where} does not accept its arguments"):
                arch = discovered(named.rpartition(".")[2].lower(), merged.network, dims=dims, size=size)
            fit = fitted(arch, state.weights, source=self.name)
            unread = "its own preprocessing, the transforms of the bundle, is not read"
            return fit.model(
                self.name,
                arch,
                facts={"kind": "MONAI bundle", "path": str(self.path), "version": str(metadata.get("version", ""))},
                assumed=merged.assumed,
                labels=labels if len(labels) == fit.classes else {},
                patch=_sides(image.get("spatial_shape"), dims) or _sides(taken, dims),
                notes=(f"{config.name}, {weights.name}", unread, *dropped, *merged.notes, *state.notes),
            )

    def _config_file(self) -> Path:
        folder = Path(self.path) / "configs"
        names = [self.config] if self.config else CONFIGS
        paths = (folder / f"{name}{suffix}" for name in names for suffix in ("", ".json", ".yaml", ".yml"))
        path = next((path for path in paths if path.is_file()), None)
        if path is not None:
            return path
        raise InputError(f"no config {' or '.join(names)} (.json, .yaml, .yml) in {folder}")

    def _weights_file(self) -> Path:
        files = _weights_files(Path(self.path))
        named = [path for path in files if path.name == (self.weights or DEFAULT)]
        chosen = named or ([] if self.weights else files)
        if not files:
            raise InputError(f"no weights file ({', '.join(SUFFIXES)}) in {Path(self.path) / 'models'}")
        if len(chosen) != 1:
            rule = f"source {self.name}: `weights` must be one of {', '.join(path.name for path in files)}"
            raise InputError(f"{rule}, got {self.weights or f'none, and there is no {DEFAULT}'}")
        return chosen[0]


def _sides(patch: Any, dims: int) -> list[int] | None:
    """A patch as whole numbers; None if it is not written so, since metadata may contain expressions."""
    is_patch = isinstance(patch, list | tuple) and len(patch) == dims and all(isinstance(side, int) for side in patch)
    return list(patch) if is_patch else None


def _merging(metadata: Mapping[str, object], weights: Path, names: Iterable[str]) -> ShownMerging | None:
    """The merging of a Swin UNETR: by the MONAI version in the metadata, or else by the weights file."""
    version = str(metadata.get("monai_version", ""))
    form = merging_of_version(version)
    return ShownMerging(form, f"metadata.json names MONAI {version}") if form else merging_of_file(weights, names)


def _weights_files(folder: Path) -> list[Path]:
    return sorted([path for path in (folder / "models").glob("[!.]*") if path.suffix in SUFFIXES and path.is_file()])


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"cannot read {path} as JSON or YAML: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must be a mapping, got {type(content).__name__}")
    return content


def _plain(config: Path, where: str) -> tuple[str, dict[str, Any]]:
    """Read the network's class and arguments without running code; references to plain values are resolved."""
    content = _read(config)
    node = next((content[name] for name in NETWORKS if _is_object(content.get(name))), None)
    if node is None:
        raise InputError(f"no {' or '.join(NETWORKS)} with a _target_ in {config}; trust=true evaluates the config")
    settings = {name: _followed(value, content) for name, value in node.items() if name not in OWN}
    return str(node["_target_"]), {name: literal(value, where=f"{where}.{name}") for name, value in settings.items()}


def _is_object(node: object) -> bool:
    return isinstance(node, dict) and "_target_" in node


def _followed(value: object, content: Mapping[str, object]) -> object:
    """Resolve a reference to a top-level value such as `@spatial_dims`."""
    return content.get(value[1:], value) if isinstance(value, str) and value.startswith("@") else value


def _evaluated(config: Path, where: str) -> tuple[str, dict[str, Any]]:
    """Evaluate the network's class and arguments with MONAI's parser, for a bundle that the user trusts."""
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    try:
        parser.read_config(str(config))
        parser["bundle_root"] = str(config.parent.parent)
        name = next(name for name in NETWORKS if _is_object(parser.get(name)))
        settings = {key: parser.get_parsed_content(f"{name}::{key}") for key in parser[name] if key not in OWN}
        return str(parser[name]["_target_"]), settings
    except Exception as error:  # whatever the bundle's own expressions raise
        raise InputError(f"MONAI's parser cannot evaluate {where}: {one_line(error)}") from error


def _described(metadata: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[int, str]]:
    """The metadata of the input image, and the classes of the prediction."""
    data = metadata.get("network_data_format") or {}
    image: Mapping[str, Any] = next(iter((data.get("inputs") or {}).values()), {})
    pred: Mapping[str, Any] = next(iter((data.get("outputs") or {}).values()), {})
    names = pred.get("channel_def") or {}
    return image, {int(value): str(name) for value, name in names.items() if str(value).isdigit()}
