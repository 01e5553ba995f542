"""What lies at a path: the config node of the source that reads it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import InputError
from benchmark.sources.checkpoint import SIDECAR
from benchmark.sources.nnunet import CHECKPOINTS
from benchmark.sources.weights import SUFFIXES

ADDRESS = re.compile(r"(mlflow-artifacts|runs|models):/\S+")
FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
HERE = "benchmark.sources"
FETCHED = "outputs/fetched"  # where artifacts are kept, as conf/source/mlflow.yaml has it by default
Node = dict[str, Any]


@dataclass(frozen=True)
class Pool:
    """What a folder of checkpoints holds.

    Attributes:
        nodes: The config node of each source, by name.
        left: What was not recognised -> why.
    """

    nodes: dict[str, Node]
    left: dict[str, str]


def recognise(path: str | Path, *, trust: bool = False) -> Node:
    """The config node of the source at a path.

    Args:
        path: A file of weights, a folder of one checkpoint, an MLflow address or `package.module:function`.
        trust: Let its files name classes and expressions of their own.

    Raises:
        InputError: Nothing is there, nothing is recognised, or several checkpoints are.
    """
    text = str(path)
    if ADDRESS.fullmatch(text):
        fetch = {"_target_": "benchmark.tracking.fetching.fetch_artifact", "_partial_": True}
        node = {"_target_": f"{HERE}.artifact.ArtifactSource", "name": source_name(text), "path": text}
        return node | {"fetch": fetch, "folder": FETCHED} | ({"trust": True} if trust else {})
    if FACTORY.fullmatch(text) and not Path(text).exists():
        return {"_target_": f"{HERE}.factory.FactorySource", "name": source_name(text), "factory": text}
    place = Path(path)
    if place.is_dir():
        return _folder(place, trust=trust)
    if place.is_file():
        return _file(place, trust=trust)
    raise InputError(f"source: {path} must be a file or a folder, got none there")


def recognise_pool(path: str | Path, *, trust: bool = False) -> Pool:
    """Every source of a folder of checkpoints, or the one that the path itself is.

    Raises:
        InputError: Nothing is recognised, or two sources have one name.
    """
    try:
        node = recognise(path, trust=trust)
        return Pool({node["name"]: node}, {})
    except InputError:
        if not Path(path).is_dir():
            raise
    nodes: dict[str, Node] = {}
    left: dict[str, str] = {}
    for entry in sorted(Path(path).iterdir()):
        if entry.name.startswith("."):
            continue
        try:
            node = recognise(entry, trust=trust)
        except InputError as error:
            left[entry.name] = str(error)
            continue
        if node["name"] in nodes:
            raise InputError(f"source: {path} must hold sources of different names, got {node['name']} twice")
        nodes[node["name"]] = node
    if not nodes:
        raise InputError(f"source: {path} must hold a checkpoint, got none that is recognised")
    return Pool(nodes, left)


def source_name(path: str | Path) -> str:
    """A source's name where none is given: the file's or folder's, of nnU-Net's results the data set's."""
    text = str(path).rstrip("/")
    if FACTORY.fullmatch(text):
        return text.rpartition(":")[2]
    place = Path(text) if ADDRESS.fullmatch(text) else Path(text).absolute()
    if re.fullmatch(r"fold_\w+", place.name):
        place = place.parent
    if place.name.count("__") == 2:
        return f"{place.parent.name}__{place.name.rpartition('__')[2]}"
    return place.stem if place.suffix in SUFFIXES else place.name


def _node(kind: str, path: Path, **settings: Any) -> Node:
    return {"_target_": f"{HERE}.{kind}", "name": source_name(path), "path": str(path), **settings}


def _folder(folder: Path, *, trust: bool) -> Node:
    trusted = {"trust": True} if trust else {}
    if (folder / SIDECAR).is_file():
        return _node("file.FileSource", folder, **trusted)
    if (folder / "configs" / "metadata.json").is_file():
        return _node("bundle.BundleSource", folder, **trusted)
    if any(folder.glob("fold_*")) or (folder / "plans.json").is_file():
        return _node("nnunet.NnunetSource", folder, **trusted)
    if folder.name.startswith("fold_") and (folder.parent / "plans.json").is_file():
        return _node("nnunet.NnunetSource", folder.parent, fold=folder.name.removeprefix("fold_"), **trusted)
    inner = [one for one in sorted(folder.iterdir()) if one.name.count("__") == 2 and any(one.glob("fold_*"))]
    if len(inner) == 1:
        return _folder(inner[0], trust=trust)
    files = [one for one in sorted(folder.iterdir()) if one.is_file() and one.suffix in SUFFIXES]
    if len(files) == 1 and not inner:
        return {**_file(files[0], trust=trust), "name": source_name(folder)}
    several = [one.name for one in (*inner, *files)]
    if several:
        raise InputError(f"source: {folder} must hold one checkpoint, got {', '.join(several)}; name one")
    raise InputError(
        f"source: {folder} must be a folder of ours, of nnU-Net's results, a MONAI bundle or hold a file of weights "
        f"({', '.join(SUFFIXES)}), got none of these"
    )


def _file(path: Path, *, trust: bool) -> Node:
    if path.name in CHECKPOINTS.values() and (path.parent.parent / "plans.json").is_file():
        kind = next(kind for kind, name in CHECKPOINTS.items() if name == path.name)
        return {**_folder(path.parent, trust=trust), "checkpoint": kind}
    if path.suffix == ".safetensors" and (path.parent / SIDECAR).is_file():
        return _folder(path.parent, trust=trust)
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"source: {path} must be a file of weights ({', '.join(SUFFIXES)}), got {path.suffix or 'none'}"
        )
    return _node("state_dict.StateDictSource", path)
