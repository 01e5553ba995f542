"""What a reader recognises at a path: candidates for sources, their files and their names."""

import inspect
import os
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Protocol

from benchmark.sources.model import Source
from benchmark.sources.weights.safe_load import SUFFIXES

FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")  # package.module:function
Node = dict[str, object]


@dataclass(frozen=True)
class Candidate:
    """A source found at a path, before it is given a name.

    Attributes:
        reader: The class that reads it.
        settings: Arguments of this class except `name` and `trust`; the first is the path, address or function.
        names: Its possible names, from short to long.
        file: The weights file; None if it is downloaded, generated or chosen by the reader.
    """

    reader: type[Source]
    settings: Mapping[str, object]
    names: tuple[str, ...]
    file: Path | None = None

    @property
    def path(self) -> str:
        """The path, address or function that the reader reads."""
        return str(next(iter(self.settings.values())))

    @property
    def is_loose(self) -> bool:
        """Whether it is a weights file without a folder that describes it."""
        return self.file is not None and self.path == str(self.file)

    @property
    def identity(self) -> str:
        """A key that is equal for two paths to the same source."""
        return os.path.realpath(self.file) if self.file else self.path

    def node(self, name: str, *, trust: bool) -> Node:
        """The config of the source under a name; `trust` is set if the reader has this setting."""
        target = f"{self.reader.__module__}.{self.reader.__qualname__}"
        trusted = {"trust": True} if trust and "trust" in inspect.signature(self.reader).parameters else {}
        return {"_target_": target, "name": name, **self.settings, **trusted}


@dataclass(frozen=True)
class Contents:
    """What a reader recognises at a path.

    Attributes:
        source: The source if the path itself is named.
        candidates: The sources of a folder in a pool, without symbolic links.
        owned: The folder's files that belong to these sources.
        reason: Why the folder has no source, if there are no candidates.
    """

    source: Candidate
    candidates: tuple[Candidate, ...] = ()
    owned: frozenset[Path] = frozenset()
    reason: str = ""


class Reader(Source, Protocol):
    """A checkpoint format: the class of its sources, which recognises their files.

    The settings of readers have the same meaning everywhere. `name`: the source's name. `path`: the file or folder.
    `labels`: label value -> class name in its training data, if known. `patch`: (3,) voxels of its training windows,
    if known. `prefix`: prefix of the network's tensors if the file contains several networks. `trust`: allow the
    files to name classes of any package, and to have expressions evaluated.
    """

    @classmethod
    def recognises(cls, path: Path) -> Contents | None:
        """Return what a file or folder contains in this format; None if it is not of this format."""
        ...


def single_file(reader: type[Source], path: Path) -> Contents:
    """The contents of a weights file that needs no other file, named by its stem."""
    return Contents(Candidate(reader, {"path": str(path)}, names_below(path.parent, path.stem, path.name), path))


def names_below(above: Path, *short: str) -> tuple[str, ...]:
    """The names, then the first and last of them with one parent folder in front, with two and so on."""
    parents = absolute_path(above).parts[1:]
    longer = ("/".join(parents[-count:]) for count in range(1, len(parents) + 1))
    return (*short, *(f"{start}/{name}" for start in longer for name in (short[0], short[-1])))


def absolute_path(path: str | Path) -> Path:
    """An absolute path without `..`; links are not resolved."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps `..`, Path.resolve follows links


def is_plain_file(path: Path) -> bool:
    """Whether a path is a file and not a symbolic link."""
    return path.is_file() and not path.is_symlink()


def source_name(path: str | Path) -> str:
    """The default name of a source: that of its file or folder, or of the data set for nnU-Net's results."""
    text = str(path).rstrip("/")
    if FUNCTION.fullmatch(text):
        return text.rpartition(":")[2]
    place = Path(text).absolute()
    if re.fullmatch(r"fold_\w+", place.name):
        place = place.parent
    if place.name.count("__") == 2:
        return f"{place.parent.name}__{place.name.rpartition('__')[2]}"
    return place.stem if place.suffix in SUFFIXES else place.name


def distinct_names(choices: Sequence[Sequence[str]], *, taken: Collection[str] = ()) -> list[str]:
    """Choose distinct names, as short as possible, one for each item in `choices`.

    Items with the same shortest name get longer names together, step by step, until they differ from each other and
    from all other names. The order of `choices` does not matter.

    Args:
        choices: For each item, its possible names, from short to long.
        taken: Names that are not available.

    Example:
        >>> distinct_names([["unet", "unet.pt"], ["unet", "unet.pth"], ["best", "best.pt"]])
        ['unet.pt', 'unet.pth', 'best']
        >>> distinct_names([["scratch", "scratch.pt"]], taken={"scratch"})
        ['scratch.pt']
    """
    steps = {names[0]: 0 for names in choices}
    for _ in range(max(map(len, choices), default=0)):
        chosen = _chosen(choices, steps)
        counts = Counter(chosen) + Counter(taken)
        clashing = {names[0] for names, name in zip(choices, chosen, strict=True) if counts[name] > 1}
        if not clashing:
            return chosen
        for name in clashing:
            steps[name] += 1
    return _numbered(_chosen(choices, steps), taken)


def _chosen(choices: Sequence[Sequence[str]], steps: Mapping[str, int]) -> list[str]:
    return [names[min(steps[names[0]], len(names) - 1)] for names in choices]


def _numbered(names: Sequence[str], taken: Collection[str]) -> list[str]:
    """Number the names that are equal even in full length."""
    numbered: list[str] = []
    for name in names:
        options = chain([name], (f"{name} ({number})" for number in count(2)))
        numbered.append(next(option for option in options if option not in numbered and option not in taken))
    return numbered
