"""What a user names becomes config nodes: a task by path or name, sources by paths, folders of them, or names.

`task` and `source` name groups of conf/ to every other command, so that Hydra would look for a yaml of that name; here
they are plain values, handed on as `given.task` and `given.source`.
"""

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from omegaconf import DictConfig, OmegaConf

from benchmark.errors import InputError
from benchmark.jobs.cli import CONF, composed, names_in, resolved
from benchmark.jobs.path_arguments import existing_path, exists, quoted

if TYPE_CHECKING:
    from benchmark.sources.readers.mlflow import Artifacts
    from benchmark.sources.readers.recognise import FoundSources


def as_values(arguments: Iterable[str], *, names: Collection[str] = ("task", "source")) -> list[str]:
    """Command line arguments with `task=` and `source=` as plain values; `source=a,b` is a list.

    A path that exists is one value, whatever commas and brackets it has.

    Args:
        arguments: The arguments.
        names: Which of the two become plain values.

    Example:
        >>> as_values(["task=/data/Task09_Spleen", "source=/a b/one,two", "device=cuda"])
        ['given.task="/data/Task09_Spleen"', 'given.source=["/a b/one","two"]', 'device=cuda']
    """
    values = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        plain = f"given.{key}={_list_of(value) if key == 'source' else _quoted(value)}"
        values.append(plain if key in names and value else argument)
    return values


def places_of(cfg: DictConfig) -> list[str]:
    """The overrides by which a config that is composed here has the folders of `cfg`, whatever their names."""
    return [f"{name}={quoted(str(cfg[name]))}" for name in ("data_dir", "output_dir")]


def named(cfg: DictConfig) -> "tuple[DictConfig, FoundSources]":
    """The config of the task, and the sources, that a command names by `task=` and `source=`.

    Raises:
        InputError: As in `task_node` and `source_nodes`.
    """
    from benchmark.sources.readers.mlflow import Artifacts

    places = places_of(cfg)
    node = task_node(cfg.given.task, links=cfg.links, overrides=places)
    artifacts = Artifacts(cfg.tracking.uri, Path(cfg.output_dir) / "fetched")
    return node, source_nodes(cfg.given.source, trust=cfg.trust, overrides=places, artifacts=artifacts)


def task_node(text: str | None, *, overrides: Sequence[str], links: bool = False) -> DictConfig:
    """The config of the task at a path, or of that name in conf/task under overrides such as `data_dir=...`.

    Raises:
        InputError: Nothing is named, or the path holds no task.
    """
    if not text:
        raise InputError(f"task must be a folder of labelled cases or one of {', '.join(names_in('task'))}, got none")
    if text in names_in("task") and not exists(text):
        return cast("DictConfig", composed("prepare", [*overrides, f"task={text}"]).task)
    from benchmark.data.tasks.opening import recognise_task

    node = recognise_task(Path(text), links=links)
    return OmegaConf.create(node | {"test_share": 0.0})  # nothing is tuned: all cases are scored


def source_nodes(
    texts: Sequence[str] | None, *, trust: bool, overrides: Sequence[str], artifacts: "Artifacts | None" = None
) -> "FoundSources":
    """All sources named: files, folders of one or of many, patterns, addresses, names in conf/source or of a suite.

    Args:
        texts: What was named; a path that exists comes before a name.
        trust: Whether files of a source may name classes and expressions of their own.
        overrides: What else decides a named source, such as `data_dir=...`.
        artifacts: Where the artifacts of MLflow addresses are; None: by MLflow's own setting.

    Raises:
        InputError: Nothing is named, a path is not there, a pattern matches nothing, or there is no source at one.
    """
    if not texts:
        raise InputError(f"source must be a folder of checkpoints, paths or names of {CONF / 'source'}, got none")
    from benchmark.sources.readers.mlflow import DEFAULT
    from benchmark.sources.readers.recognise import FoundSources, recognise_pool

    known = names_in("source")
    named = [text for text in dict.fromkeys(texts) if text in known and not exists(text)]
    nodes = {text: resolved(composed("pretrain", [*overrides, f"source={text}"]).source) for text in named}
    paths = [text for text in texts if text not in named]
    pool = (
        recognise_pool(paths, trust=trust, taken=named, artifacts=artifacts or DEFAULT)
        if paths
        else FoundSources({}, {})
    )
    return replace(pool, nodes=nodes | pool.nodes)


def _list_of(text: str) -> str:
    path = existing_path(text)
    if path is not None:
        return f"[{quoted(path)}]"
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    return "[" + ",".join(_quoted(part) for part in _separated(inner) if part.strip()) + "]"


def _separated(text: str) -> list[str]:
    """The parts between commas; parts that together are a path that exists stay together."""
    pieces, parts = text.split(","), []
    while pieces:
        joined = (",".join(pieces[:count]) for count in range(len(pieces), 1, -1))
        parts.append(next((path for path in joined if _path_in(path)), pieces[0]))
        del pieces[: parts[-1].count(",") + 1]
    return parts


def _path_in(text: str) -> str | None:
    """The path that a text names, with or without the blanks around it."""
    return existing_path(text) or existing_path(text.strip())


def _quoted(text: str) -> str:
    bare = text.strip()
    path = _path_in(text)
    if path is None and bare[:1] in {'"', "'"}:
        return bare
    return quoted(path or os.path.expanduser(bare))  # noqa: PTH111 - Path.expanduser raises for an unknown user
