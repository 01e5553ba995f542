"""Read a MONAI bundle: a folder with configs/metadata.json, a config that names the network, and weights.

Cardoso et al., MONAI: an open-source framework for deep learning in healthcare, 2022, arXiv 2211.02701. A bundle's
config may contain expressions, which are code. They are evaluated only if the user trusts the bundle; otherwise the
network must be one of MONAI's own, and its arguments plain values.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from benchmark.errors import InputError
from benchmark.sources.model import Model
from benchmark.sources.networks.discover import discovered
from benchmark.sources.weights.corrupt_files import described_by
from benchmark.sources.weights.match import fitted
from benchmark.sources.weights.safe_load import SUFFIXES, read_weights, unwrap
from benchmark.sources.weights.swin_merging import (
    ShownMerging,
    dated_digest,
    merged_network,
    merging_of_file,
    merging_of_version,
    with_merging,
)
from benchmark.sources.weights.trusted_classes import literal, monai_class

CONFIGS = ("inference", "train", "evaluate")
NETWORKS = ("network_def", "network", "net")  # keys of the network in bundles
OWN = ("_target_", "_desc_", "_requires_", "_disabled_", "in_channels", "out_channels")


@dataclass(frozen=True)
class BundleSource:
    """A MONAI bundle.

    Attributes:
        name: The source's name.
        path: The bundle's folder.
        config: The file in configs/ that names the network; None: inference, else train.
        weights: The file in models/; None: model.pt, or the only weights file.
        settings: Arguments of the network, which override the config's.
        trust: Evaluate the bundle's expressions and allow classes of any package.
    """

    name: str
    path: str | Path
    config: str | None = None
    weights: str | None = None
    settings: Mapping[str, Any] | None = None
    trust: bool = False

    def digest(self) -> str:
        """SHA-256 over metadata, config and weights."""
        described = (Path(self.path) / "configs" / "metadata.json", self._config_file())
        return dated_digest(self._weights_file(), *described)

    def open(self) -> Model:
        """Read the bundle.

        Raises:
            InputError: A file or key is missing, code would have to run, or the weights do not match the network.
        """
        with described_by(self.path):
            return self._open()

    def _open(self) -> Model:
        metadata = _read(Path(self.path) / "configs" / "metadata.json")
        config, weights = self._config_file(), self._weights_file()
        where = f"{config}: the network"
        named, settings = (_evaluated if self.trust else _plain)(config, where)
        settings = {name: value for name, value in (settings | dict(self.settings or {})).items() if name not in OWN}
        cls = monai_class(named, where=where, trust=self.trust)
        settings = with_merging(settings, source=self.name) if cls.__name__ == "SwinUNETR" else settings
        size = settings.get("img_size")
        dropped, taken = [], None
        if cls.__name__ == "SwinUNETR" and settings.pop("img_size", None) is not None:  # MONAI 1.5 removed it
            taken = [size] * 3 if isinstance(size, int) else size
            size, dropped = None, ["img_size of SwinUNETR, which MONAI no longer accepts, is used as its patch"]
        state = unwrap(read_weights(weights), weights)
        merged = merged_network(partial(cls, **settings), _merging(metadata, weights, state.weights))
        network: Callable[..., nn.Module] = merged.network
        image, labels = _described(metadata)
        dims = int(settings.get("spatial_dims", 3))
        try:
            arch = discovered(named.rpartition(".")[2].lower(), network, dims=dims,
                              size=[size] * dims if isinstance(size, int) else size)  # fmt: skip
        except (TypeError, ValueError, RuntimeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{where} does not accept its arguments: {error}") from error
        fit = fitted(network, state.weights, source=self.name, head=arch.head, decoder=arch.decoder)
        patch = _sides(image.get("spatial_shape"), dims) or _sides(taken, dims)
        unread = "its own preprocessing, the transforms of the bundle, is not read"
        return Model(
            name=self.name,
            arch=arch,
            weights=fit.weights,
            channels=fit.channels,
            classes=fit.classes,
            labels=labels if len(labels) == fit.classes else {},
            patch=arch.fit(patch) if patch else None,
            facts={"kind": "MONAI bundle", "path": str(self.path), "version": str(metadata.get("version", ""))}
            | ({"assumed": f"merging = {merged.assumed['merging']}"} if merged.assumed else {}),
            notes=(f"{config.name}, {weights.name}", unread, *dropped, *merged.notes, *state.notes, *fit.notes),
            head=fit.head,
        )

    def _config_file(self) -> Path:
        folder = Path(self.path) / "configs"
        names = [self.config] if self.config else CONFIGS
        for name in names:
            for path in (folder / name, *(folder / f"{name}{suffix}" for suffix in (".json", ".yaml", ".yml"))):
                if path.is_file():
                    return path
        raise InputError(f"no config {' or '.join(names)} (.json, .yaml, .yml) in {folder}")

    def _weights_file(self) -> Path:
        files = bundle_weights(Path(self.path))
        named = [path for path in files if path.name == (self.weights or "model.pt")]
        chosen = named or ([] if self.weights else files)
        if not files:
            raise InputError(f"no weights file ({', '.join(SUFFIXES)}) in {Path(self.path) / 'models'}")
        if len(chosen) != 1:
            rule = f"source {self.name}: `weights` must be one of {', '.join(path.name for path in files)}"
            raise InputError(f"{rule}, got {self.weights or 'none, and there is no model.pt'}")
        return chosen[0]


def _sides(patch: Any, dims: int) -> list[int] | None:
    """A patch as whole numbers; None if it is not written so, since metadata may contain expressions."""
    is_patch = isinstance(patch, list | tuple) and len(patch) == dims and all(isinstance(side, int) for side in patch)
    return list(patch) if is_patch else None


def _merging(metadata: Mapping[str, Any], weights: Path, names: Iterable[str]) -> ShownMerging | None:
    """The merging of a Swin UNETR: by the MONAI version in the metadata, or else by the weights file."""
    version = str(metadata.get("monai_version", ""))
    form = merging_of_version(version)
    return ShownMerging(form, f"metadata.json names MONAI {version}") if form else merging_of_file(weights, names)


def bundle_weights(folder: Path) -> list[Path]:
    """The weights files in a bundle's folder `models`, without hidden files."""
    files = [path for path in (folder / "models").glob("[!.]*") if path.suffix in SUFFIXES and path.is_file()]
    return sorted(files)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"cannot read {path} as JSON or YAML: {' '.join(str(error).split())}") from error
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


def _is_object(node: Any) -> bool:
    return isinstance(node, dict) and "_target_" in node


def _followed(value: Any, content: Mapping[str, Any]) -> Any:
    """Resolve a reference to a top-level value such as `@spatial_dims`."""
    if isinstance(value, str) and value.startswith("@"):
        return content.get(value[1:], value)
    return value


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
        raise InputError(f"MONAI's parser cannot evaluate {where}: {' '.join(str(error).split())}") from error


def _described(metadata: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[int, str]]:
    """The metadata of the input image, and the classes of the prediction."""
    data = metadata.get("network_data_format") or {}
    image: Mapping[str, Any] = next(iter((data.get("inputs") or {}).values()), {})
    pred: Mapping[str, Any] = next(iter((data.get("outputs") or {}).values()), {})
    names = pred.get("channel_def") or {}
    return image, {int(value): str(name) for value, name in names.items() if str(value).isdigit()}
