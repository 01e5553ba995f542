"""Candidates for sources at a path: the reader, the weights file and the possible names of each."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import InputError
from benchmark.sources.readers.bundle import bundle_weights
from benchmark.sources.readers.nnunet_folder import (
    CHECKPOINTS,
    fold_checkpoints,
    is_fold,
    is_results_folder,
    missing_checkpoint,
)
from benchmark.sources.weights.checkpoint import SIDECAR, WEIGHTS
from benchmark.sources.weights.safe_load import SUFFIXES

ADDRESS = re.compile(r"(mlflow-artifacts|runs|models):/\S+")
FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
FETCHED = "outputs/fetched"  # folder of artifacts, the default of conf/source/mlflow.yaml
LINK = "a symbolic link, and links are not followed; name it as a source of its own to have it read"
Node = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """A source found at a path, before it is given a name.

    Attributes:
        reader: Module and class of its reader, below benchmark.sources.readers.
        path: The file, folder or address for the reader.
        file: The weights file; None if it is downloaded or generated.
        names: Its possible names, from short to long.
        settings: Further arguments of the reader.
    """

    reader: str
    path: str
    file: Path | None
    names: tuple[str, ...]
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def is_loose(self) -> bool:
        """Whether it is a weights file without a folder that describes it."""
        return self.reader == "state_dict.StateDictSource"

    @property
    def identity(self) -> str:
        """A key that is equal for two paths to the same source."""
        return os.path.realpath(self.file) if self.file else self.path

    def node(self, name: str) -> Node:
        """The config of the source under a name."""
        path = "factory" if self.reader == "factory.FactorySource" else "path"
        return {
            "_target_": f"benchmark.sources.readers.{self.reader}",
            "name": name,
            path: self.path,
            **dict(self.settings),
        }


@dataclass(frozen=True)
class KnownFolder:
    """A folder of a known kind: this project's, nnU-Net's or a MONAI bundle.

    Attributes:
        candidates: The sources in it.
        owned: The files that belong to these sources.
        reason: Why it contains no source; empty if it contains any.
    """

    candidates: tuple[Candidate, ...]
    owned: frozenset[Path]
    reason: str = ""


def source_elsewhere(text: str, *, trust: bool = False) -> Candidate | None:
    """The source for an MLflow address or `package.module:function`; None for a path."""
    if ADDRESS.fullmatch(text):
        fetch = {"_target_": "benchmark.tracking.artifacts.fetch_artifact", "_partial_": True}
        settings = (("fetch", fetch), ("folder", FETCHED), *_trusted(trust))
        parts = text.rstrip("/").split("/")
        names = tuple("/".join(parts[-count:]) for count in range(1, len(parts) + 1))
        return Candidate("mlflow.ArtifactSource", text, None, names, settings)
    if FACTORY.fullmatch(text) and not Path(text).exists():
        module, _, function = text.partition(":")
        names = (function, f"{module.rpartition('.')[2]}:{function}", text)
        return Candidate("factory.FactorySource", text, None, names)
    return None


def source_of_file(path: Path, *, trust: bool = False) -> Candidate:
    """The source of a file: that of its folder if the folder is of a known kind, else the file itself.

    Raises:
        InputError: The file does not have the suffix of a weights file.
    """
    if path.name in CHECKPOINTS.values() and is_fold(path.parent):
        kind = next(kind for kind, name in CHECKPOINTS.items() if name == path.name)
        return _nnunet(path.parent.parent, path, (*_fold_of(path), ("checkpoint", kind)), trust=trust)
    if path.name == WEIGHTS and (path.parent / SIDECAR).is_file():
        return _ours(path.parent, trust=trust)
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"source {path} is not a weights file: its suffix must be one of {', '.join(SUFFIXES)}, "
            f"got {path.suffix or 'none'}"
        )
    return loose_source(path)


def loose_source(path: Path) -> Candidate:
    """The source of a weights file without a folder that describes it."""
    return Candidate("state_dict.StateDictSource", str(path), path, _names(path.parent, path.stem, path.name))


def source_of_folder(folder: Path, *, trust: bool = False) -> Candidate | None:
    """The source of a folder of a known kind; None for any other folder."""
    if (folder / SIDECAR).is_file():
        return _ours(folder, trust=trust)
    if (folder / "configs" / "metadata.json").is_file():
        place = absolute_path(folder)
        return Candidate("bundle.BundleSource", str(folder), None, _names(place.parent, place.name), _trusted(trust))
    if is_results_folder(folder):
        return _nnunet(folder, next(iter(fold_checkpoints(folder)), None), trust=trust)
    return source_of_fold(folder, trust=trust)


def source_of_fold(folder: Path, *, trust: bool = False) -> Candidate | None:
    """The source of a folder `fold_X` of nnU-Net's results; None for any other folder."""
    if not is_fold(folder):
        return None
    file = next((path for path in fold_checkpoints(folder.parent) if path.parent.name == folder.name), None)
    return _nnunet(folder.parent, file, _fold_of(folder / "checkpoint"), trust=trust)


def known_folder(folder: Path, *, trust: bool = False) -> KnownFolder | None:
    """All sources in a folder of a known kind, without symbolic links; None for any other folder."""
    if (folder / SIDECAR).is_file():
        owned = frozenset({folder / SIDECAR, folder / WEIGHTS})
        if _is_file(folder / WEIGHTS):
            return KnownFolder((_ours(folder, trust=trust),), owned)
        return KnownFolder((), owned, f"{SIDECAR} without {WEIGHTS}")
    if (folder / "configs" / "metadata.json").is_file():
        return _known_bundle(folder, trust=trust)
    return _known_results(folder, trust=trust) if is_results_folder(folder) else None


def _known_bundle(folder: Path, *, trust: bool) -> KnownFolder:
    files = [path for path in bundle_weights(folder) if _is_file(path) and not path.parent.is_symlink()]
    owned = frozenset({*files, *(folder / "configs").glob("*")})
    candidates = []
    place, is_single = absolute_path(folder), len(files) == 1
    name = place.name
    for path in files:
        short = name if is_single or path.stem == "model" else f"{name}/{path.stem}"
        longer = name if is_single or path.name == "model.pt" else f"{name}/{path.name}"
        settings = () if path.name == "model.pt" else (("weights", path.name),)
        names = _names(place.parent, short, longer)
        candidates.append(Candidate("bundle.BundleSource", str(folder), path, names, (*settings, *_trusted(trust))))
    return KnownFolder(tuple(candidates), owned, "" if files else "a MONAI bundle without a weights file in models")


def _known_results(folder: Path, *, trust: bool) -> KnownFolder:
    owned = fold_checkpoints(folder)
    files = [path for path in owned if _is_file(path) and not path.parent.is_symlink()]
    described = (folder / "plans.json", folder / "dataset.json")
    if not files:
        return KnownFolder((), frozenset({*owned, *described}), missing_checkpoint(folder))
    kind = next(kind for kind, name in CHECKPOINTS.items() if name == files[0].name)
    chosen = () if files[0] == owned[0] else (*_fold_of(files[0]), ("checkpoint", kind))  # the first is a link
    return KnownFolder((_nnunet(folder, files[0], chosen, trust=trust),), frozenset({*owned, *described}))


def _ours(folder: Path, *, trust: bool) -> Candidate:
    place = absolute_path(folder)
    names = _names(place.parent, place.name, place.name)
    return Candidate("own_format.FileSource", str(folder), folder / WEIGHTS, names, _trusted(trust))


def _nnunet(
    folder: Path, file: Path | None, settings: tuple[tuple[str, Any], ...] = (), *, trust: bool = False
) -> Candidate:
    """A checkpoint of a results folder, named by data set and configuration, then trainer, plans, fold."""
    place = absolute_path(folder)
    end = f"__{file.parent.name}" if file else ""
    whole = f"{end}__{file.stem.removeprefix('checkpoint_')}" if file else ""
    if place.name.count("__") == 2:
        data, (trainer, plans, configuration) = place.parent.name, place.name.split("__")
        base = f"{data}__{configuration}"
        longer = (f"{data}__{trainer}__{configuration}", f"{data}__{plans}__{configuration}")
        longest = f"{data}__{place.name}"
        above = place.parent.parent
    else:
        base = longest = place.name
        longer = (base, base)
        above = place.parent
    names = _names(above, base, *longer, longest, f"{base}{end}", f"{longest}{whole}")
    return Candidate("nnunet.NnunetSource", str(folder), file, names, (*settings, *_trusted(trust)))


def _fold_of(path: Path) -> tuple[tuple[str, Any], ...]:
    return (("fold", path.parent.name.removeprefix("fold_")),)


def _names(above: Path, *short: str) -> tuple[str, ...]:
    """The names, then the first and last of them with one parent folder in front, with two and so on."""
    parents = absolute_path(above).parts[1:]
    longer = ("/".join(parents[-count:]) for count in range(1, len(parents) + 1))
    return (*short, *(f"{start}/{name}" for start in longer for name in (short[0], short[-1])))


def absolute_path(path: str | Path) -> Path:
    """An absolute path without `..`; links are not resolved."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps `..`, Path.resolve follows links


def _trusted(trust: bool) -> tuple[tuple[str, Any], ...]:
    return (("trust", True),) if trust else ()


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
