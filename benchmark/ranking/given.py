"""What a user names becomes config nodes: a task by path or name, sources by paths, folders of them, or names.

`task` and `source` name groups of conf/ to every other command, so that Hydra would look for a yaml of that name; here
they are plain values, handed on as `given.task` and `given.source`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from benchmark.command import CONF
from benchmark.errors import InputError

PLAIN = ("task", "source")


@dataclass
class GivenSources:
    """The pool that a user named.

    Attributes:
        nodes: Name -> the source's config.
        left: What is no source -> why.
    """

    nodes: dict[str, DictConfig] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)


def as_values(arguments: Iterable[str]) -> list[str]:
    """Command line arguments with `task=` and `source=` as plain values; `source=a,b` is a list.

    Example:
        >>> as_values(["task=/data/Task09_Spleen", "source=/a b/one,two", "device=cuda"])
        ['given.task="/data/Task09_Spleen"', 'given.source=["/a b/one","two"]', 'device=cuda']
    """
    found = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key not in PLAIN or not value:
            found.append(argument)
            continue
        found.append(f"given.{key}={_listed(value) if key == 'source' else _quoted(value)}")
    return found


def task_node(text: str | None, *, overrides: Sequence[str]) -> DictConfig:
    """The config of the task at a path, or of that name in conf/task.

    Args:
        text: A folder or a name.
        overrides: What else decides a named task, such as `data_dir=...`.

    Raises:
        InputError: Nothing is named, or the path holds no task.
    """
    if not text:
        raise InputError(f"task must be a folder of labelled cases or one of {', '.join(names_in('task'))}, got none")
    if not Path(text).exists() and text in names_in("task"):
        node: DictConfig = compose("prepare", [*overrides, f"task={text}"]).task
        return node
    from benchmark.data.recognise import recognise_task

    return OmegaConf.create(recognise_task(Path(text)) | {"test_share": 0.0})  # nothing is tuned: all cases are scored


def source_nodes(texts: Sequence[str] | None, *, trust: bool, overrides: Sequence[str]) -> GivenSources:
    """The configs of all sources named: files, folders of one or of many, patterns, addresses, names in conf/source.

    Args:
        texts: What was named.
        trust: Whether files of a source may name classes and expressions of their own.
        overrides: What else decides a named source, such as `data_dir=...`.

    Raises:
        InputError: Nothing is named, a path is not there, or two sources have one name.
    """
    if not texts:
        raise InputError(f"source must be a folder of checkpoints, paths or names of {CONF / 'source'}, got none")
    given = GivenSources()
    for text in texts:
        for path in _matching(text):
            nodes, left = _sources(path, trust=trust, overrides=overrides)
            if twice := sorted(set(nodes) & set(given.nodes)):
                raise InputError(f"source must hold sources of different names, got {twice[0]} twice")
            given.nodes |= nodes
            given.left |= left
    if not given.nodes:
        raise InputError(f"source must hold at least one checkpoint, got none in {', '.join(texts)}")
    return given


def names_in(group: str) -> list[str]:
    """The names that a group of conf/ offers."""
    return sorted(path.stem for path in (CONF / group).glob("[!_]*.yaml"))


def _matching(text: str) -> list[str]:
    if not any(mark in text for mark in "*?["):
        return [text]
    place = Path(text)
    return sorted(str(path) for path in Path(place.anchor).glob(str(place.relative_to(place.anchor))))


def _sources(text: str, *, trust: bool, overrides: Sequence[str]) -> tuple[dict[str, DictConfig], dict[str, str]]:
    if not Path(text).exists() and text in names_in("source"):
        return {text: compose("pretrain", [*overrides, f"source={text}"]).source}, {}
    from benchmark.sources.recognise import recognise_pool

    pool: Any = recognise_pool(text, trust=trust)
    return {name: OmegaConf.create(node) for name, node in pool.nodes.items()}, dict(pool.left)


def _listed(text: str) -> str:
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    return "[" + ",".join(_quoted(part) for part in inner.split(",")) + "]"


def _quoted(text: str) -> str:
    """A value that Hydra's grammar takes as it is."""
    bare = text.strip()
    if bare[:1] in {'"', "'"}:
        return bare
    return '"' + bare.replace("\\", "\\\\").replace('"', '\\"') + '"'
