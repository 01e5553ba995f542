"""Recognise the source at a path, or the sources of a whole pool, and return their configs."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import InputError
from benchmark.sources.readers.candidates import (
    ADDRESS,
    FACTORY,
    Candidate,
    Node,
    absolute_path,
    source_elsewhere,
    source_of_file,
    source_of_folder,
)
from benchmark.sources.readers.folder_search import ENTRIES, Search, nothing_found, search
from benchmark.sources.readers.pool_names import distinct_names
from benchmark.sources.readers.same_weights import formats_of_one_model
from benchmark.sources.weights.match import listed
from benchmark.sources.weights.safe_load import SUFFIXES

SHOWN = 10  # checkpoints listed in an error


@dataclass(frozen=True)
class FoundSources:
    """The sources found at the paths that a user names.

    Attributes:
        nodes: The config of each source, by name.
        left: What looks like a source but is not used -> reason.
        other_files: Number of other files.
        notes: Counts of other files and of folders not searched, one line each.
    """

    nodes: dict[str, Node]
    left: dict[str, str]
    other_files: int = 0
    notes: tuple[str, ...] = ()


def recognise(path: str | Path, *, trust: bool = False) -> Node:
    """Recognise the source at a path and return its config.

    Args:
        path: A weights file, a folder with one checkpoint, an MLflow address or `package.module:function`.
        trust: Allow its files to name classes and expressions of their own.

    Raises:
        InputError: The path does not exist, or does not have exactly one checkpoint.
    """
    place = Path(path)
    found = source_elsewhere(str(path), trust=trust)
    if found is not None:
        return found.node(found.names[0])
    if place.is_dir():
        return recognise_folder(place, trust=trust)
    if not place.is_file():
        raise InputError(f"source {path} not found: it is neither a file nor a folder")
    found = source_of_file(place, trust=trust)
    return found.node(found.names[0])


def recognise_folder(folder: Path, *, trust: bool = False, where: str | None = None) -> Node:
    """Recognise the only source in a folder and return its config.

    Args:
        folder: A folder of a known kind, or a folder with one such folder or one weights file.
        trust: Allow its files to name classes and expressions of their own.
        where: Name of the folder in errors.

    Raises:
        InputError: The folder has no source, or several.
    """
    known = source_of_folder(folder, trust=trust)
    if known is not None:
        return known.node(known.names[0])
    where = where or str(folder)
    found = Search(folder, trust)
    found.named(folder)
    sources = _outermost(found.run().candidates)
    if len(sources) > 1:
        names = listed([str(path.relative_to(folder)) for path in sources], SHOWN)
        raise InputError(f"source {where} holds {len(sources)} checkpoints: {names}; name one of them")
    if not sources:
        unused = "; ".join(f"{path.relative_to(folder)}: {why}" for path, why in found.left.items())
        raise InputError(f"source {where} holds no checkpoint: {unused or nothing_found()}")
    (path,) = sources
    node = recognise(path, trust=trust)
    return node if path.is_dir() else node | {"name": source_name(folder)}


def recognise_pool(
    paths: str | Path | Sequence[str | Path], *, trust: bool = False, taken: Collection[str] = ()
) -> FoundSources:
    """Find every source at one or several paths: files, folders of any number of checkpoints, patterns, addresses.

    Args:
        paths: The paths. Folders are searched recursively; links in them are not followed.
        trust: Allow the sources' files to name classes and expressions of their own.
        taken: Names that are not available.

    Raises:
        InputError: A path does not exist, has no match or no source; or there is no source at all.
    """
    texts = [paths] if isinstance(paths, str | Path) else paths
    found = [search(str(text), trust=trust) for text in texts]
    sources = _each_once([source for result in found for source in sorted(result.candidates, key=_by_path)])
    files = [source.file for source in sorted(sources, key=_preferred) if source.file]
    copies = formats_of_one_model(files)
    sources = [source for source in sources if source.file not in copies]
    names = distinct_names([source.names for source in sources], taken=taken)
    left = _left(found, sources, copies, taken={*names, *taken})
    if not sources:
        raise InputError(f"no source can be scored: {'; '.join(f'{name}: {why}' for name, why in left.items())}")
    nodes = {name: source.node(name) for name, source in zip(names, sources, strict=True)}
    return FoundSources(nodes, left, len(_everywhere(result.others for result in found)), _notes(found))


def source_name(path: str | Path) -> str:
    """The default name of a source: that of its file or folder, or of the data set for nnU-Net's results."""
    text = str(path).rstrip("/")
    if FACTORY.fullmatch(text):
        return text.rpartition(":")[2]
    place = Path(text) if ADDRESS.fullmatch(text) else Path(text).absolute()
    if re.fullmatch(r"fold_\w+", place.name):
        place = place.parent
    if place.name.count("__") == 2:
        return f"{place.parent.name}__{place.name.rpartition('__')[2]}"
    return place.stem if place.suffix in SUFFIXES else place.name


def _outermost(sources: Sequence[Candidate]) -> list[Path]:
    """The paths of sources: folders of a known kind, and files outside these that are not a copy of another file."""
    folders = {Path(source.path) for source in sources if not source.is_loose}
    files = [source.file for source in sources if source.is_loose and source.file]
    files = [file for file in files if folders.isdisjoint(file.parents)]
    copies = formats_of_one_model(sorted(files, key=lambda file: file.suffix != ".safetensors"))
    return sorted(folders | (set(files) - copies.keys()))


def _each_once(sources: Sequence[Candidate]) -> list[Candidate]:
    """Remove duplicate sources: of a file and its folder, the folder is kept."""
    found: dict[str, Candidate] = {}
    for source in sources:
        other = found.get(source.identity)
        found[source.identity] = source if other is None else min(other, source, key=_preferred)
    return list(found.values())


def _by_path(source: Candidate) -> tuple[str, str]:
    return source.path, str(source.file)


def _preferred(source: Candidate) -> tuple[object, ...]:
    """Sort key for duplicates: described before loose sources, then safetensors files, then fewer settings."""
    is_safe = source.file is not None and source.file.suffix == ".safetensors"
    return source.is_loose, not is_safe, len(source.settings), *_by_path(source)


def _left(
    found: Sequence[Search], sources: Sequence[Candidate], copies: Mapping[Path, Path], *, taken: Collection[str]
) -> dict[str, str]:
    """Unused paths, by distinct names, and the reasons."""
    read = {absolute_path(path) for source in sources for path in (source.path, source.file or source.path)}
    named = {absolute_path(result.base) for result in found}
    reasons: dict[Path, str] = {}
    names: list[tuple[str, ...]] = []
    for result in found:
        files = [source.file for source in result.candidates if source.file and source.file in copies]
        left = result.left | {file: f"the same weights as {copies[file].name} in another format" for file in files}
        for path in sorted(left):
            place = absolute_path(path)
            if place not in reasons and place not in read and (path == result.base or place not in named):
                reasons[place] = left[path]
                names.append(_names_of(path, result.base))
    return dict(zip(distinct_names(names, taken=taken), reasons.values(), strict=True))


def _names_of(path: Path, base: Path) -> tuple[str, ...]:
    parts = path.absolute().parts
    first = max(1, len(path.relative_to(base).parts))
    return tuple("/".join(parts[-count:]) for count in range(first, len(parts)))


def _notes(found: Sequence[Search]) -> tuple[str, ...]:
    others, hidden = (len(_everywhere(paths)) for paths in ((s.others for s in found), (s.hidden for s in found)))
    deep = len(_everywhere(result.too_deep for result in found))
    notes = (
        [f"{_many(others, 'other file')} not read: hidden, or without the suffix of a weights file"] if others else []
    )
    notes += [f"{_many(hidden, 'hidden folder')} not searched"] if hidden else []
    notes += [f"{_many(deep, 'folder')} not searched: too deep; name their checkpoints as sources"] if deep else []
    notes += [
        f"only {ENTRIES:,} entries of {result.base} were searched; name its subfolders as sources to search all"
        for result in found
        if result.is_cut
    ]
    return tuple(notes)


def _everywhere(paths: Iterable[Iterable[Path]]) -> set[Path]:
    """The distinct paths of several searches."""
    return {absolute_path(path) for group in paths for path in group}


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'} {'was' if number == 1 else 'were'}"
