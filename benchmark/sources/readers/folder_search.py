"""Search folders for checkpoints of every format; unused ones are listed with a reason, other files are counted."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.errors import InputError, listed
from benchmark.jobs.path_arguments import REFERENCE
from benchmark.sources.readers.bundle import BundleSource
from benchmark.sources.readers.candidates import Candidate, Contents, Node, Reader, source_name
from benchmark.sources.readers.described import with_settings
from benchmark.sources.readers.nnunet import NnunetSource
from benchmark.sources.readers.other_formats import logged_model, other_format
from benchmark.sources.readers.own_format import FileSource
from benchmark.sources.readers.settings_file import FOLDER_FILE, misplaced_entry
from benchmark.sources.readers.state_dict import StateDictSource, formats_of_one_model
from benchmark.sources.weights.safe_load import SUFFIXES

# in order: the first reader that recognises a path reads it
READERS: tuple[type[Reader], ...] = (FileSource, BundleSource, NnunetSource, StateDictSource)
DEPTH = 6  # levels of folders below the named folder
INSIDE = 2  # levels that are always searched below a folder of a known kind: nnU-Net's folds, a bundle's models
ENTRIES = 10_000  # files and folders that are searched per path that a user names
PATTERN = "*?["
MISSING = "???"  # OmegaConf's missing value
SHOWN = 10  # checkpoints listed in an error
LINK = "a symbolic link, and links are not followed; name it as a source of its own to have it read"


def recognise_folder(folder: Path, *, trust: bool = False, where: str | None = None) -> Node:
    """Recognise the only source in a folder and return its config.

    Args:
        folder: A folder of a known format, or a folder with one such folder or one weights file.
        trust: Allow its files to name classes and expressions of their own.
        where: Name of the folder in errors.

    Raises:
        InputError: The folder has no source, or several.
    """
    where = where or str(folder)
    if reason := unusable_name(folder):
        raise InputError(f"cannot use {folder}: {reason}")
    if reason := logged_model(folder):
        raise InputError(f"source {where} is {reason}")
    known = contents(folder)
    if known is not None:
        return known.source.node(known.source.names[0], trust=trust)
    result = Search(folder)
    result.named(folder)
    places = _outermost(result.run().candidates)
    if len(places) > 1:
        names = listed([str(path.relative_to(folder)) for path in places], SHOWN)
        raise InputError(f"source {where} holds {len(places)} checkpoints: {names}; name one of them")
    if not places:
        unused = "; ".join(f"{path.relative_to(folder)}: {why}" for path, why in result.left.items())
        raise InputError(f"source {where} holds no checkpoint: {unused or nothing_found()}")
    source = named_source(places[0])
    return source.node(source_name(folder) if source.is_loose else source.names[0], trust=trust)


def contents(path: Path) -> Contents | None:
    """What the first reader that recognises a path finds there, with its user's settings; None if no reader does."""
    return next((with_settings(known) for reader in READERS if (known := reader.recognises(path))), None)


def named_source(path: Path) -> Candidate:
    """The source of a file or folder that a user names.

    Raises:
        InputError: No reader recognises it, or an entry of the folder's sources.yaml has no weights file.
    """
    if reason := unusable_name(path):
        raise InputError(f"cannot use {path}: {reason}")
    known = contents(path)
    if known is not None and (reason := misplaced_entry(path.parent / FOLDER_FILE)):
        raise InputError(f"{path.parent / FOLDER_FILE}: {reason}")
    if known is None and (reason := other_format(path)):
        raise InputError(f"source {path} is {reason}")
    if known is None:
        raise InputError(
            f"source {path} is not a weights file: its suffix must be one of {', '.join(SUFFIXES)}, "
            f"got {path.suffix or 'none'}"
        )
    return known.source


def unusable_name(path: Path) -> str | None:
    """Why a config cannot hold a path; None if it can."""
    if MISSING in (path.name, path.stem):
        return f"its name, {MISSING}, means a missing value in a config; rename it"
    return f"{REFERENCE} in its name would be read as a reference; rename it" if REFERENCE in str(path) else None


def _outermost(sources: Sequence[Candidate]) -> list[Path]:
    """The paths of sources: folders of a known format, and files outside these that are not a copy of another file."""
    folders = {Path(source.path) for source in sources if not source.is_loose}
    files = [source.file for source in sources if source.is_loose and source.file]
    files = [file for file in files if folders.isdisjoint(file.parents)]
    copies = formats_of_one_model(sorted(files, key=lambda file: file.suffix != ".safetensors"))
    return sorted(folders | (set(files) - copies.keys()))


@dataclass
class Search:
    """The search at a path that a user names, and its result.

    Attributes:
        base: The folder that is searched; for a pattern, its part without wildcards.
        candidates: The sources found.
        left: Paths that look like a source but are not used -> reason.
        others: Other files.
        hidden: Hidden folders, which are not searched.
        too_deep: Folders that are too deep to be searched.
        is_cut: Whether entries were skipped because there are too many.
    """

    base: Path
    candidates: list[Candidate] = field(default_factory=list)
    left: dict[Path, str] = field(default_factory=dict)
    others: set[Path] = field(default_factory=set)
    hidden: set[Path] = field(default_factory=set)
    too_deep: set[Path] = field(default_factory=set)
    is_cut: bool = False
    _owned: set[Path] = field(default_factory=set, init=False)
    _waiting: deque[tuple[Path, int, int]] = field(default_factory=deque, init=False)
    _looked_at: int = field(default=0, init=False)

    def named(self, path: Path) -> None:
        """Add a path that a user names; links are followed.

        Raises:
            InputError: The path is a file that no reader recognises.
        """
        if path.is_dir():
            self._folder(path, 0, DEPTH, is_named=True)
        else:
            self.candidates.append(named_source(path))

    def matched(self, path: Path, *, hidden: bool = False) -> None:
        """Add a path that a pattern matches, which names hidden files if `hidden`."""
        depth = len(path.relative_to(self.base).parts)
        self._looked_at += 1
        if path.is_symlink() or (path.name.startswith(".") and not hidden):
            self._entry(path, depth, DEPTH)
        elif path.is_dir():
            self._folder(path, depth, max(DEPTH, depth + 1), is_named=True)
        else:
            self._file(path)

    def run(self) -> "Search":
        """Search the queued folders by depth, so that a limit skips the deepest."""
        while self._waiting:
            folder, depth, deepest = self._waiting.popleft()
            for path in self._entries(folder):
                try:
                    self._entry(path, depth + 1, deepest)
                except OSError as error:
                    self.left[path] = f"cannot be read: {error.strerror}"
        return self

    def _entries(self, folder: Path) -> Iterator[Path]:
        """Yield a folder's entries within the limit: weights files, then folders, then others."""
        room = ENTRIES - self._looked_at
        if room <= 0:
            self.is_cut = True
            self.left[folder] = f"not searched: {self.base} has more than {ENTRIES:,} entries"
            return
        try:
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=_order)
        except OSError as error:
            self.left[folder] = f"cannot be read: {error.strerror}"
            return
        self.is_cut |= len(entries) > room
        self._looked_at += min(room, len(entries))
        yield from (folder / entry.name for entry in entries[:room])

    def _entry(self, path: Path, depth: int, deepest: int) -> None:
        is_link, is_folder = path.is_symlink(), path.is_dir()
        if path in self._owned and not is_link:
            return
        if reason := unusable_name(path):
            self.left[path] = f"not read: {reason}"
        elif path.name.startswith("."):
            (self.hidden if is_folder and not is_link else self.others).add(path)
        elif is_link and (path.suffix in SUFFIXES or is_folder):
            self.left[path] = LINK
        elif is_folder:
            self._folder(path, depth, deepest)
        elif is_link:
            self.others.add(path)
        else:
            self._file(path)

    def _file(self, path: Path) -> None:
        known = contents(path)
        if known is not None:
            self.candidates.append(known.source)
        elif (path.name == FOLDER_FILE and (reason := _settings_fault(path))) or (reason := other_format(path)):
            self.left[path] = reason
        else:
            self.others.add(path)

    def _folder(self, folder: Path, depth: int, deepest: int, *, is_named: bool = False) -> None:
        if reason := logged_model(folder):
            self.left[folder] = reason
            return
        known = contents(folder)
        if known is not None and (is_named or known.source.path == str(folder)):  # not a part, such as a fold
            self.candidates += known.candidates
            self._owned |= known.owned
            deepest = max(deepest, depth + INSIDE)
            if not known.candidates:
                self.left[folder] = known.reason
        if depth < deepest:
            self._waiting.append((folder, depth, deepest))
        elif any(folder.iterdir()):
            self.too_deep.add(folder)
            self.left[folder] = f"not searched: its content is more than {DEPTH} levels below {self.base}"


def _settings_fault(path: Path) -> str | None:
    try:
        return misplaced_entry(path)
    except InputError as error:
        return str(error)


def search(text: str) -> Search:
    """Find every source at a path or a pattern that a user names; an existing path is never read as a pattern.

    Raises:
        InputError: The path does not exist, the pattern has no match, or no source is found.
    """
    path = Path(text)
    if os.path.exists(text) and (path.is_dir() or path.is_file()):  # noqa: PTH110 - no error for text that is too long
        result = Search(path)
        result.named(path)
    elif any(wildcard in text for wildcard in PATTERN):
        result = _pattern(path)
    else:
        raise not_found(text)
    result.run()
    if not result.candidates and not result.left:
        raise InputError(f"source {text} holds no checkpoint: {nothing_found()}")
    return result


def not_found(text: str) -> InputError:
    """The error for a path that does not exist."""
    return InputError(f"source {text} not found: it is neither a file nor a folder")


def nothing_found() -> str:
    """The kinds of sources that were not found, for errors."""
    kinds = "no folder saved by this project, no results folder of nnU-Net, no MONAI bundle"
    return f"no weights file ({', '.join(SUFFIXES)}), {kinds}"


def _pattern(path: Path) -> Search:
    parts = path.parts
    fixed = next(count for count in range(len(parts), -1, -1) if Path(*parts[:count]).is_dir())
    base, wild = Path(*parts[:fixed]), parts[fixed:]
    hidden = any(part.startswith(".") for part in wild)
    try:
        matches = {_stop(base, match, hidden=hidden) for match in base.glob("/".join(wild))}
    except ValueError as error:
        raise InputError(f"source {path}: {error}") from error
    if not matches:
        raise InputError(f"source {path}: no file or folder matches this pattern")
    result = Search(base)
    outermost = [match for match in matches if matches.isdisjoint(match.parents)]
    ordered = sorted(outermost, key=lambda match: (match.suffix not in SUFFIXES, not match.is_dir(), match))
    for match in ordered[:ENTRIES]:
        result.matched(match, hidden=hidden)
    result.is_cut = len(ordered) > ENTRIES
    return result


def _stop(base: Path, match: Path, *, hidden: bool) -> Path:
    """The match, or the first of its parents that is not searched: a symbolic link or a hidden folder."""
    parts = match.relative_to(base).parts
    above = (base.joinpath(*parts[:count]) for count in range(1, len(parts)))
    return next((path for path in above if path.is_symlink() or (path.name.startswith(".") and not hidden)), match)


def _order(entry: "os.DirEntry[str]") -> tuple[bool, bool, str]:
    """Sort key: weights files, then folders, then others."""
    return Path(entry.name).suffix not in SUFFIXES, not entry.is_dir(follow_symlinks=False), entry.name
