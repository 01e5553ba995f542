"""Search a folder for sources; unused checkpoints are listed with a reason, other files are counted."""

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.errors import InputError
from benchmark.sources.readers.candidates import (
    LINK,
    Candidate,
    known_folder,
    loose_source,
    source_elsewhere,
    source_of_file,
    source_of_fold,
)
from benchmark.sources.readers.nnunet_folder import CHECKPOINTS, is_fold, missing_checkpoint
from benchmark.sources.weights.safe_load import SUFFIXES

DEPTH = 6  # levels of folders below the named folder
INSIDE = 2  # levels that are always searched below a folder of a known kind: nnU-Net's folds, a bundle's models
ENTRIES = 10_000  # files and folders that are searched per path that a user names
PATTERN = "*?["


@dataclass
class Search:
    """The search at a path that a user names, and its result.

    Attributes:
        base: The folder that is searched; for a pattern, its part without wildcards.
        trust: Allow a source's files to name classes and expressions of their own.
        candidates: The sources found.
        left: Paths that look like a source but are not used -> reason.
        others: Other files.
        hidden: Hidden folders, which are not searched.
        too_deep: Folders that are too deep to be searched.
        is_cut: Whether entries were skipped because there are too many.
    """

    base: Path
    trust: bool = False
    candidates: list[Candidate] = field(default_factory=list)
    left: dict[Path, str] = field(default_factory=dict)
    others: set[Path] = field(default_factory=set)
    hidden: set[Path] = field(default_factory=set)
    too_deep: set[Path] = field(default_factory=set)
    is_cut: bool = False

    def __post_init__(self) -> None:
        self._owned: set[Path] = set()
        self._waiting: deque[tuple[Path, int, int]] = deque()
        self._looked_at = 0

    def named(self, path: Path) -> None:
        """Add a path that a user names; links are followed.

        Raises:
            InputError: The path is a file without the suffix of a weights file.
        """
        if path.is_dir():
            self._named_folder(path, 0)
        else:
            self.candidates.append(source_of_file(path, trust=self.trust))

    def matched(self, path: Path, *, hidden: bool = False) -> None:
        """Add a path that a pattern matches; it may also be a fold or checkpoint of nnU-Net's results.

        Args:
            path: The match.
            hidden: Whether the pattern names hidden files.
        """
        depth = len(path.relative_to(self.base).parts)
        self._looked_at += 1
        if path.is_symlink() or (path.name.startswith(".") and not hidden):
            self._entry(path, depth, DEPTH)
        elif path.is_dir():
            self._named_folder(path, depth)
        elif path.is_file() and path.suffix in SUFFIXES:
            self.candidates.append(source_of_file(path, trust=self.trust))
        else:
            self.others.add(path)

    def _named_folder(self, folder: Path, depth: int) -> None:
        deepest = max(DEPTH, depth + 1)
        if not is_fold(folder):
            self._folder(folder, depth, deepest)
            return
        source = source_of_fold(folder, trust=self.trust)
        if source and source.file:
            self.candidates.append(source)
        else:
            self.left[folder] = missing_checkpoint(folder.parent, fold=folder.name.removeprefix("fold_"))
        self._owned |= {folder / name for name in CHECKPOINTS.values()}
        self._waiting.append((folder, depth, deepest))

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
                entries = sorted(scan, key=lambda entry: (_order(entry), entry.name))
        except OSError as error:
            self.left[folder] = f"cannot be read: {error.strerror}"
            return
        self.is_cut |= len(entries) > room
        self._looked_at += min(room, len(entries))
        yield from (folder / entry.name for entry in entries[:room])

    def _entry(self, path: Path, depth: int, deepest: int) -> None:
        if path in self._owned and not path.is_symlink():
            return
        if path.name.startswith("."):
            (self.hidden if path.is_dir() and not path.is_symlink() else self.others).add(path)
        elif path.is_symlink() and (path.suffix in SUFFIXES or path.is_dir()):
            self.left[path] = LINK
        elif path.is_dir() and not path.is_symlink():
            self._folder(path, depth, deepest)
        elif path.suffix in SUFFIXES and path.is_file():
            self.candidates.append(loose_source(path))
        else:
            self.others.add(path)

    def _folder(self, folder: Path, depth: int, deepest: int) -> None:
        known = known_folder(folder, trust=self.trust)
        if known is not None:
            self.candidates += known.candidates
            self._owned |= known.owned
            deepest = max(deepest, depth + INSIDE)
            if known.reason:
                self.left[folder] = known.reason
        if depth < deepest:
            self._waiting.append((folder, depth, deepest))
        elif _has_entries(folder):
            self.too_deep.add(folder)
            self.left[folder] = f"not searched: its content is more than {DEPTH} levels below {self.base}"


def search(text: str, *, trust: bool = False) -> Search:
    """Find every source at a path, a pattern, an MLflow address or a function that a user names.

    Args:
        text: The path, pattern, address or function. An existing path is never read as a pattern.
        trust: Allow a source's files to name classes and expressions of their own.

    Raises:
        InputError: The path does not exist, the pattern has no match, or no source is found.
    """
    path = Path(text)
    elsewhere = source_elsewhere(text, trust=trust)
    if elsewhere is not None:
        return Search(path, trust, [elsewhere])
    if os.path.exists(text) and (path.is_dir() or path.is_file()):  # noqa: PTH110 - no error for text that is too long
        found = Search(path, trust)
        found.named(path)
    elif any(wildcard in text for wildcard in PATTERN):
        found = _pattern(path, trust=trust)
    else:
        raise InputError(f"source {text} not found: it is neither a file nor a folder")
    found.run()
    if not found.candidates and not found.left:
        raise InputError(f"source {text} holds no checkpoint: {nothing_found()}")
    return found


def nothing_found() -> str:
    """The kinds of sources that were not found, for errors."""
    kinds = "no folder saved by this project, no results folder of nnU-Net, no MONAI bundle"
    return f"no weights file ({', '.join(SUFFIXES)}), {kinds}"


def _pattern(path: Path, *, trust: bool) -> Search:
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
    found = Search(base, trust)
    outermost = [match for match in matches if matches.isdisjoint(match.parents)]
    ordered = sorted(outermost, key=lambda match: (match.suffix not in SUFFIXES, not match.is_dir(), match))
    for match in ordered[:ENTRIES]:
        found.matched(match, hidden=hidden)
    found.is_cut = len(ordered) > ENTRIES
    return found


def _stop(base: Path, match: Path, *, hidden: bool) -> Path:
    """The match, or the first of its parents that is not searched: a symbolic link or a hidden folder."""
    parts = match.relative_to(base).parts
    for count, part in enumerate(parts[:-1], 1):
        place = base.joinpath(*parts[:count])
        if place.is_symlink() or (part.startswith(".") and not hidden):
            return place
    return match


def _order(entry: "os.DirEntry[str]") -> int:
    if Path(entry.name).suffix in SUFFIXES:
        return 0
    return 1 if entry.is_dir(follow_symlinks=False) else 2


def _has_entries(folder: Path) -> bool:
    try:
        with os.scandir(folder) as scan:
            return any(True for _ in scan)
    except OSError:
        return True
