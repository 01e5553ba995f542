"""Recognise the source that a user names, or the sources of a whole pool, and return their configs."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import InputError
from benchmark.sources.readers.candidates import Candidate, Node, absolute_path, distinct_names
from benchmark.sources.readers.factory import FactorySource
from benchmark.sources.readers.folder_search import ENTRIES, Search, named_source, not_found, recognise_folder, search
from benchmark.sources.readers.mlflow import DEFAULT, Artifacts, ArtifactSource
from benchmark.sources.readers.state_dict import formats_of_one_model


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


def recognise(path: str | Path, *, trust: bool = False, artifacts: Artifacts = DEFAULT) -> Node:
    """Recognise the source at a path and return its config.

    Args:
        path: A weights file, a folder with one checkpoint, an MLflow address or `package.module:function`.
        trust: Allow its files to name classes and expressions of their own.
        artifacts: Where the artifact of an MLflow address is.

    Raises:
        InputError: The path does not exist, or does not have exactly one checkpoint.
    """
    source = _elsewhere(str(path), artifacts)
    place = Path(path)
    if source is None and place.is_dir():
        return recognise_folder(place, trust=trust)
    if source is None and not place.is_file():
        raise not_found(str(path))
    source = source or named_source(place)
    return source.node(source.names[0], trust=trust)


def _elsewhere(text: str, artifacts: Artifacts) -> Candidate | None:
    """The source of an MLflow address or a function; None for a path, and a path that exists is one."""
    if os.path.lexists(text):
        return None
    known = ArtifactSource.recognises(text, artifacts) or FactorySource.recognises(text)
    return known.source if known else None


def recognise_pool(
    paths: str | Path | Sequence[str | Path],
    *,
    trust: bool = False,
    taken: Collection[str] = (),
    artifacts: Artifacts = DEFAULT,
) -> FoundSources:
    """Find every source at one or several paths: files, folders of any number of checkpoints, patterns, addresses.

    Args:
        paths: The paths. Folders are searched recursively; links in them are not followed.
        trust: Allow the sources' files to name classes and expressions of their own.
        taken: Names that are not available.
        artifacts: Where the artifacts of MLflow addresses are.

    Raises:
        InputError: A path does not exist, has no match or no source; or there is no source at all.
    """
    texts = [str(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    elsewhere = {text: source for text in texts if (source := _elsewhere(text, artifacts))}
    searches = [Search(Path(text), [elsewhere[text]]) if text in elsewhere else search(text) for text in texts]
    sources = _each_once([source for result in searches for source in sorted(result.candidates, key=_by_path)])
    copies = formats_of_one_model([source.file for source in sorted(sources, key=_preferred) if source.file])
    sources = [source for source in sources if source.file not in copies]
    names = distinct_names([source.names for source in sources], taken=taken)
    left = _left(searches, sources, copies, taken={*names, *taken})
    if not sources:
        raise InputError(f"no source can be scored: {'; '.join(f'{name}: {why}' for name, why in left.items())}")
    nodes = {name: source.node(name, trust=trust) for name, source in zip(names, sources, strict=True)}
    return FoundSources(nodes, left, len(_everywhere(result.others for result in searches)), _notes(searches))


def _each_once(sources: Sequence[Candidate]) -> list[Candidate]:
    kept: dict[str, Candidate] = {}
    for source in sources:
        kept[source.identity] = min(kept.get(source.identity, source), source, key=_preferred)
    return list(kept.values())


def _by_path(source: Candidate) -> tuple[str, str]:
    return source.path, str(source.file)


def _preferred(source: Candidate) -> tuple[object, ...]:
    """Sort key for duplicates: described before loose sources, then safetensors files, then fewer settings."""
    is_safe = source.file is not None and source.file.suffix == ".safetensors"
    return source.is_loose, not is_safe, len(source.settings), *_by_path(source)


def _left(
    searches: Sequence[Search], sources: Sequence[Candidate], copies: Mapping[Path, Path], *, taken: Collection[str]
) -> dict[str, str]:
    """Unused paths, by distinct names, and the reasons."""
    read = {absolute_path(path) for source in sources for path in (source.path, source.file or source.path)}
    named = {absolute_path(result.base) for result in searches}
    reasons: dict[Path, str] = {}
    names: list[tuple[str, ...]] = []
    for result in searches:
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


def _notes(searches: Sequence[Search]) -> tuple[str, ...]:
    counts = (
        ((result.others for result in searches), "other file", "read: hidden, or without the suffix of a weights file"),
        ((result.hidden for result in searches), "hidden folder", "searched"),
        ((result.too_deep for result in searches), "folder", "searched: too deep; name their checkpoints as sources"),
    )
    numbers = [(len(_everywhere(paths)), what, done) for paths, what, done in counts]
    counted = [f"{n:,} {what}{' was' if n == 1 else 's were'} not {done}" for n, what, done in numbers if n]
    cut = [str(result.base) for result in searches if result.is_cut]
    advice = "were searched; name its subfolders as sources to search all"
    return (*counted, *(f"only {ENTRIES:,} entries of {base} {advice}" for base in cut))


def _everywhere(paths: Iterable[Iterable[Path]]) -> set[Path]:
    return {absolute_path(path) for group in paths for path in group}
