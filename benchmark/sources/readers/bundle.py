"""Read a MONAI bundle: a folder with configs/metadata.json, a config that names the network, and weights.

Cardoso et al., MONAI: an open-source framework for deep learning in healthcare, 2022, arXiv 2211.02701. A bundle's
config may contain expressions, which are code. They are evaluated only if the user trusts the bundle; otherwise the
network must be one of MONAI's own, and its arguments plain values.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmark.errors import InputError
from benchmark.sources.model import Model
from benchmark.sources.networks.architecture import is_within
from benchmark.sources.networks.discover import discovered
from benchmark.sources.readers.bundle_config import (
    OWN,
    built_in,
    evaluated_network,
    importable,
    plain_network,
    read_config,
)
from benchmark.sources.readers.bundle_transforms import bundle_preparation
from benchmark.sources.readers.candidates import Candidate, Contents, absolute_path, is_plain_file, names_below
from benchmark.sources.weights.former_arguments import PresentArguments, present_arguments
from benchmark.sources.weights.match import fitted
from benchmark.sources.weights.safe_load import (
    NETWORKS,
    SUFFIXES,
    TORCHSCRIPT,
    literal,
    monai_class,
    read_state,
    reported_as,
)
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
ENDINGS = ("", ".json", ".yaml", ".yml")


@dataclass(frozen=True)
class BundleSource:
    """The folder of a MONAI bundle; attributes not listed as in `Reader`.

    Attributes:
        config: The file in configs/ that names the network; None: inference, else train.
        weights: The file in models/; None: model.pt, or the only weights file.
        settings: Arguments of the network, which override the config's.
        ema: Take the EMA weights of a file that also has plain ones.
    """

    name: str
    path: str | Path
    config: str | None = None
    weights: str | None = None
    settings: Mapping[str, object] | None = None
    trust: bool = False
    ema: bool = False

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
        main = next((file for file in files if file.name == DEFAULT), files[0] if len(files) == 1 else None)
        source = Candidate(cls, settings, names_below(place.parent, place.name), main)
        owned = frozenset({*files, *(path / "configs").glob("*")})
        return Contents(source, tuple(sources), owned, _without_weights(path))

    def digest(self) -> str:
        """SHA-256 over metadata, configs and weights, and over the code of a bundle that is trusted."""
        code = sorted(Path(self.path).glob("scripts/**/*.py")) if self.trust else []
        return dated_digest(
            self._weights_file(), Path(self.path) / METADATA, self._config_file(), *self._others(), *code
        )

    def open(self) -> Model:
        """Read the bundle.

        Raises:
            InputError: A file or key is missing, code would have to run, or the weights do not match the network.
        """
        with reported_as(f"cannot build a network from {self.path}"):
            metadata = read_config(Path(self.path) / METADATA)
            config, weights = self._config_file(), self._weights_file()
            where = f"{config}: the network"
            cls, present = self._network(config, where)
            settings = with_merging(cls.__name__, present.settings, source=self.name)
            state = read_state(weights, ema=self.ema)
            merged = merged_network(partial(cls, **settings), _merging(metadata, weights, state.weights))
            is_own = self.trust and not is_within(cls.__module__, NETWORKS)
            network = partial(built_in, Path(self.path), merged.network) if is_own else merged.network
            image, labels = _described(metadata)
            dims = int(settings.get("spatial_dims", 3))
            with reported_as(f"{where} does not accept its arguments"):
                arch = discovered(cls.__name__.lower(), network, dims=dims, size=settings.get("img_size"))
            fit = fitted(arch, state.weights, source=self.name)
            prepared = bundle_preparation([config, *self._others()], channels=fit.channels, dims=dims)
            return fit.model(
                self.name,
                arch,
                facts={"kind": "MONAI bundle", "path": str(self.path), "version": str(metadata.get("version", ""))},
                assumed=merged.assumed,
                labels=labels if len(labels) == fit.classes else {},
                preparation=prepared.preparation,
                patch=_sides(image.get("spatial_shape"), dims) or _sides(present.patch, dims),
                notes=(f"{config.name}, {weights.name}", *prepared.notes, *present.notes, *merged.notes, *state.notes),
            )

    def _network(self, config: Path, where: str) -> tuple[Any, PresentArguments]:
        """The network's class and its arguments, as plain values or, for a bundle that is trusted, evaluated."""
        if self.trust:
            with importable(Path(self.path)):
                named, settings = evaluated_network(config, where)
                cls = monai_class(named, where=where, trust=True)
        else:
            named, settings = plain_network(config)
            cls = monai_class(named, where=where)
        chosen = {name: value for name, value in (self.settings or {}).items() if name not in OWN}
        present = present_arguments(cls, settings | chosen)
        if not self.trust:
            for name, value in present.settings.items():
                literal(value, where=f"{where}.{name}")
        return cls, present

    def _config_file(self) -> Path:
        names = [self.config] if self.config else CONFIGS
        if files := self._configs(names):
            return files[0]
        raise InputError(f"no config {' or '.join(names)} (.json, .yaml, .yml) in {Path(self.path) / 'configs'}")

    def _others(self) -> list[Path]:
        """The other configs, whose transforms are read where the first lists none."""
        return [path for path in self._configs(CONFIGS) if path != self._config_file()]

    def _configs(self, names: Iterable[str]) -> list[Path]:
        paths = [[Path(self.path) / "configs" / f"{name}{end}" for end in ENDINGS] for name in names]
        return [path for each in paths if (path := next((path for path in each if path.is_file()), None))]

    def _weights_file(self) -> Path:
        files = _weights_files(Path(self.path))
        named = [path for path in files if path.name == (self.weights or DEFAULT)]
        chosen = named or ([] if self.weights else files)
        if not files:
            raise InputError(f"{self.path} is {_without_weights(Path(self.path))}")
        if len(chosen) != 1:
            rule = f"source {self.name}: `weights` must be one of {', '.join(path.name for path in files)}"
            raise InputError(f"{rule}, got {self.weights or f'none, and there is no {DEFAULT}'}")
        return chosen[0]


def _without_weights(folder: Path) -> str:
    """What a bundle is whose folder `models` has no weights file."""
    program = next(iter(sorted((folder / "models").glob("[!.]*.ts"))), None)
    only = f"; models/{program.name} is {TORCHSCRIPT}" if program else ""
    return f"a MONAI bundle without a weights file in models{only}"


def _sides(patch: Any, dims: int) -> list[int] | None:
    """A patch as whole numbers; None if it is not written so, since metadata may contain expressions."""
    patch = [patch] * dims if isinstance(patch, int) else patch
    is_patch = isinstance(patch, list | tuple) and len(patch) == dims and all(isinstance(side, int) for side in patch)
    return list(patch) if is_patch else None


def _merging(metadata: Mapping[str, object], weights: Path, names: Iterable[str]) -> ShownMerging | None:
    """The merging of a Swin UNETR: by the MONAI version in the metadata, or else by the weights file."""
    version = str(metadata.get("monai_version", ""))
    form = merging_of_version(version)
    return ShownMerging(form, f"metadata.json names MONAI {version}") if form else merging_of_file(weights, names)


def _weights_files(folder: Path) -> list[Path]:
    return sorted([path for path in (folder / "models").glob("[!.]*") if path.suffix in SUFFIXES and path.is_file()])


def _described(metadata: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[int, str]]:
    """The metadata of the input image, and the classes of the prediction."""
    data = metadata.get("network_data_format") or {}
    image: Mapping[str, Any] = next(iter((data.get("inputs") or {}).values()), {})
    pred: Mapping[str, Any] = next(iter((data.get("outputs") or {}).values()), {})
    names = pred.get("channel_def") or {}
    return image, {int(value): str(name) for value, name in names.items() if str(value).isdigit()}
