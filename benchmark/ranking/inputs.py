"""What a user names becomes config nodes: a task by path or name, sources by paths, folders of them, or names.

`task` and `source` name groups of conf/ to every other command, so that Hydra would look for a yaml of that name; here
they are plain values, handed on as `given.task` and `given.source`.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from benchmark.errors import InputError
from benchmark.jobs.cli import CONF, composed

PLAIN = ("task", "source")


@dataclass
class GivenSources:
    """The pool that a user named.

    Attributes:
        nodes: Name -> the source's config.
        left: What looks like a source and is not taken -> why.
        other_files: How many other files the named folders hold.
        notes: What was counted and what was not searched, one line each.
    """

    nodes: dict[str, DictConfig]
    left: dict[str, str] = field(default_factory=dict)
    other_files: int = 0
    notes: tuple[str, ...] = ()


def as_values(arguments: Iterable[str]) -> list[str]:
    """Command line arguments with `task=` and `source=` as plain values; `source=a,b` is a list.

    A path that exists is one value, whatever commas and brackets it has.

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
        node: DictConfig = composed("prepare", [*overrides, f"task={text}"]).task
        return node
    from benchmark.data.tasks.recognise import recognise_task

    return OmegaConf.create(recognise_task(Path(text)) | {"test_share": 0.0})  # nothing is tuned: all cases are scored


def source_nodes(texts: Sequence[str] | None, *, trust: bool, overrides: Sequence[str]) -> GivenSources:
    """The configs of all sources named: files, folders of one or of many, patterns, addresses, names in conf/source.

    Args:
        texts: What was named; a path that exists comes before a name.
        trust: Whether files of a source may name classes and expressions of their own.
        overrides: What else decides a named source, such as `data_dir=...`.

    Raises:
        InputError: Nothing is named, a path is not there, a pattern matches nothing, or there is no source at one.
    """
    if not texts:
        raise InputError(f"source must be a folder of checkpoints, paths or names of {CONF / 'source'}, got none")
    named = [text for text in dict.fromkeys(texts) if text in names_in("source") and not _exists(text)]
    nodes: dict[str, DictConfig] = {text: composed("pretrain", [*overrides, f"source={text}"]).source for text in named}
    paths = [text for text in texts if text not in named]
    if not paths:
        return GivenSources(nodes)
    from benchmark.sources.readers.recognise import recognise_pool

    pool = recognise_pool(paths, trust=trust, taken=named)
    nodes |= {name: OmegaConf.create(node) for name, node in pool.nodes.items()}
    return GivenSources(nodes, pool.left, pool.other_files, pool.notes)


def names_in(group: str) -> list[str]:
    """The names that a group of conf/ offers."""
    return sorted(path.stem for path in (CONF / group).glob("[!_]*.yaml"))


def _listed(text: str) -> str:
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") and not _exists(text) else text
    return "[" + ",".join(_quoted(part) for part in _separated(inner) if part.strip()) + "]"


def _separated(text: str) -> list[str]:
    """The parts between commas; parts that together are a path that exists stay together."""
    parts = text.split(",")
    found = []
    while parts:
        joined = (",".join(parts[:count]) for count in range(len(parts), 1, -1))
        part = next((path for path in joined if _exists(path)), parts[0])
        found.append(part)
        del parts[: part.count(",") + 1]
    return found


def _exists(text: str) -> bool:
    return os.path.exists(text.strip())  # noqa: PTH110 - Path.exists raises where a text is too long for a name


def _quoted(text: str) -> str:
    """A value that Hydra's grammar takes as it is."""
    bare = text.strip()
    if bare[:1] in {'"', "'"}:
        return bare
    return '"' + bare.replace("\\", "\\\\").replace('"', '\\"') + '"'
