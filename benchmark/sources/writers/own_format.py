"""Write a source in this project's own format: safetensors with a sidecar that describes the network.

`FileSource` reads it back as the same model: architecture, weights, labels, preparation, patch, facts and notes.
"""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from benchmark.data.preprocessing.preparation import Preparation
from benchmark.errors import InputError
from benchmark.sources.model import Model
from benchmark.sources.networks.architecture import Architecture
from benchmark.sources.networks.skeleton import shapes_of
from benchmark.sources.readers.network_description import describe_network, needs_trust
from benchmark.sources.readers.own_format import DESCRIBED, FileSource
from benchmark.sources.weights.checkpoint import save_checkpoint
from benchmark.storage.files import partial_folder

ARCHITECTURE_FIELDS = tuple(field.name for field in fields(Architecture) if field.name != "network")
READER_FACTS = ("kind", "path")  # facts that the reader of a model sets


def write_source(model: Model, folder: Path) -> FileSource:
    """Write a model atomically; the files are read back and compared before they replace the folder.

    Args:
        model: With a segmentation head; its facts that are plain values are kept.
        folder: Its name becomes the name of the source where no other is given.

    Returns:
        The source in the folder, which needs trust if the network is of a user's own code.

    Raises:
        InputError: The network cannot be described, its weights are not finite or not its own, or the folder cannot be
            written; a former content is kept.
    """
    if not model.head:
        raise InputError(f"cannot write {model.name}: it has no segmentation head")
    description = describe_network(model.arch.network)
    source = FileSource(model.name, folder, trust=needs_trust(description))
    network = model.network()
    try:
        with partial_folder(folder) as partial:
            save_checkpoint(network, _sidecar(model, description), partial)
            _compare(FileSource(model.name, partial, trust=source.trust).open(), model)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error}") from error
    return source


def _sidecar(model: Model, description: dict[str, Any]) -> dict[str, object]:
    preparation = model.preparation
    facts = {
        name: value
        for name, value in model.facts.items()
        if name not in READER_FACTS and isinstance(value, str | int | float | bool)
    }
    return {
        "name": model.name,
        "architecture": {DESCRIBED: description} | {name: getattr(model.arch, name) for name in ARCHITECTURE_FIELDS},
        "channels": model.channels,
        "classes": model.classes,
        "labels": {str(value): name for value, name in model.labels.items()},
        "spacing": preparation.spacing if preparation else None,
        "preparation": _stored(preparation),
        "patch": model.patch,
        "facts": facts,
        "notes": list(model.notes),
    }


def _compare(read: Model, model: Model) -> None:
    """Refuse a folder that is read as another model.

    Raises:
        InputError: A part differs.
    """
    pairs = {
        name: (_listed(getattr(read.arch, name)), _listed(getattr(model.arch, name))) for name in ARCHITECTURE_FIELDS
    }
    for name in ("channels", "classes", "labels"):
        pairs[name] = getattr(read, name), getattr(model, name)
    pairs["preparation"] = _stored(read.preparation), _stored(model.preparation)
    pairs["patch"] = read.patch, model.arch.fit(model.patch) if model.patch else None
    shapes = shapes_of(read.arch.network, channels=read.channels, classes=read.classes)
    pairs["tensors"] = shapes, {name: tuple(tensor.shape) for name, tensor in model.weights.items()}
    for name, (found, expected) in pairs.items():
        if found != expected:
            raise InputError(f"cannot write {model.name}: its {name} would be read back as {found}, not as {expected}")


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _stored(preparation: Preparation | None) -> dict[str, Any] | None:
    """A preparation as plain values, its sequences as lists."""
    return json.loads(json.dumps(asdict(preparation), default=list)) if preparation else None
