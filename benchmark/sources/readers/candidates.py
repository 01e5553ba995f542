"""Sources that are found at a path: what reads each, which file of weights it takes, and which names it may have."""

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
FETCHED = "outputs/fetched"  # where artifacts are kept, as conf/source/mlflow.yaml has it by default
LINK = "a symbolic link, and links are not followed; name it as a source of its own to have it read"
Node = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """A source that is found at a path and has no name yet.

    Attributes:
        reader: The module and class that read it, below benchmark.sources.
        path: The file, folder or address that the class is given.
        file: The weights file that it takes; None where it is fetched or made.
        names: The names that it may have, from short to long.
        settings: Further arguments of the class.
    """

    reader: str
    path: str
    file: Path | None
    names: tuple[str, ...]
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def is_loose(self) -> bool:
        """Whether it is a file of weights that no folder describes."""
        return self.reader == "state_dict.StateDictSource"

    @property
    def identity(self) -> str:
        """Equal for candidates that are the same source, named in two ways."""
        return os.path.realpath(self.file) if self.file else self.path

    def node(self, name: str) -> Node:
        """The config of the source, under a name."""
        path = "factory" if self.reader == "factory.FactorySource" else "path"
        return {
            "_target_": f"benchmark.sources.readers.{self.reader}",
            "name": name,
            path: self.path,
            **dict(self.settings),
        }


@dataclass(frozen=True)
class KnownFolder:
    """A folder of a known kind: ours, nnU-Net's or a MONAI bundle.

    Attributes:
        candidates: The sources in it.
        owned: The files that belong to these sources.
        reason: Why there is no source in it; empty where there is one.
    """

    candidates: tuple[Candidate, ...]
    owned: frozenset[Path]
    reason: str = ""


def source_elsewhere(text: str, *, trust: bool = False) -> Candidate | None:
    """The source at an MLflow address, or of `package.module:function`; None for a path."""
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
    """The source that a named file is: the folder's that it belongs to, or the file's own.

    Raises:
        InputError: It has no suffix of a weights file.
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
    """A file of weights by itself."""
    return Candidate("state_dict.StateDictSource", str(path), path, _names(path.parent, path.stem, path.name))


def source_of_folder(folder: Path, *, trust: bool = False) -> Candidate | None:
    """The one source that a folder of a known kind is read as; None for any other folder."""
    if (folder / SIDECAR).is_file():
        return _ours(folder, trust=trust)
    if (folder / "configs" / "metadata.json").is_file():
        place = absolute_path(folder)
        return Candidate("bundle.BundleSource", str(folder), None, _names(place.parent, place.name), _trusted(trust))
    if is_results_folder(folder):
        return _nnunet(folder, next(iter(fold_checkpoints(folder)), None), trust=trust)
    return source_of_fold(folder, trust=trust)


def source_of_fold(folder: Path, *, trust: bool = False) -> Candidate | None:
    """The source that a named `fold_X` of nnU-Net's results is; None for any other folder."""
    if not is_fold(folder):
        return None
    file = next((path for path in fold_checkpoints(folder.parent) if path.parent.name == folder.name), None)
    return _nnunet(folder.parent, file, _fold_of(folder / "checkpoint"), trust=trust)


def known_folder(folder: Path, *, trust: bool = False) -> KnownFolder | None:
    """Every source of a folder of a known kind, symbolic links left out; None for any other folder."""
    if (folder / SIDECAR).is_file():
        owned = frozenset({folder / SIDECAR, folder / WEIGHTS})
        if _is_file(folder / WEIGHTS):
            return KnownFolder((_ours(folder, trust=trust),), owned)
        return KnownFolder((), owned, f"{SIDECAR} is there, but no {WEIGHTS}")
    if (folder / "configs" / "metadata.json").is_file():
        return _known_bundle(folder, trust=trust)
    return _known_results(folder, trust=trust) if is_results_folder(folder) else None


def _known_bundle(folder: Path, *, trust: bool) -> KnownFolder:
    files = [path for path in bundle_weights(folder) if _is_file(path) and not path.parent.is_symlink()]
    owned = frozenset({*files, *(folder / "configs").glob("*")})
    found = []
    place, alone = absolute_path(folder), len(files) == 1
    name = place.name
    for path in files:
        short = name if alone or path.stem == "model" else f"{name}/{path.stem}"
        longer = name if alone or path.name == "model.pt" else f"{name}/{path.name}"
        settings = () if path.name == "model.pt" else (("weights", path.name),)
        names = _names(place.parent, short, longer)
        found.append(Candidate("bundle.BundleSource", str(folder), path, names, (*settings, *_trusted(trust))))
    return KnownFolder(tuple(found), owned, "" if files else "a MONAI bundle without a weights file in models")


def _known_results(folder: Path, *, trust: bool) -> KnownFolder:
    owned = fold_checkpoints(folder)
    files = [path for path in owned if _is_file(path) and not path.parent.is_symlink()]
    described = (folder / "plans.json", folder / "dataset.json")
    if not files:
        return KnownFolder((), frozenset({*owned, *described}), missing_checkpoint(folder))
    kind = next(kind for kind, name in CHECKPOINTS.items() if name == files[0].name)
    chosen = () if files[0] == owned[0] else (*_fold_of(files[0]), ("checkpoint", kind))  # one that is no link
    return KnownFolder((_nnunet(folder, files[0], chosen, trust=trust),), frozenset({*owned, *described}))


def _ours(folder: Path, *, trust: bool) -> Candidate:
    place = absolute_path(folder)
    names = _names(place.parent, place.name, place.name)
    return Candidate("own_format.FileSource", str(folder), folder / WEIGHTS, names, _trusted(trust))


def _nnunet(
    folder: Path, file: Path | None, settings: tuple[tuple[str, Any], ...] = (), *, trust: bool = False
) -> Candidate:
    """A results folder, read from one checkpoint: named by data set and configuration, then trainer, plans, fold."""
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
    """The names, and the first and last of them below one parent folder, below two and so on."""
    parents = absolute_path(above).parts[1:]
    longer = ("/".join(parents[-count:]) for count in range(1, len(parents) + 1))
    return (*short, *(f"{start}/{name}" for start in longer for name in (short[0], short[-1])))


def absolute_path(path: str | Path) -> Path:
    """An absolute path without `..`; links in it stay links."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps `..`, Path.resolve follows links


def _trusted(trust: bool) -> tuple[tuple[str, Any], ...]:
    return (("trust", True),) if trust else ()


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
