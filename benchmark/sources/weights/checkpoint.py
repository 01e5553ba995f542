"""A source's weights on disk: safetensors with a JSON sidecar."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmark.errors import InputError

WEIGHTS = "weights.safetensors"
SIDECAR = "source.json"


@dataclass(frozen=True)
class Checkpoint:
    """Weights and their metadata.

    Attributes:
        weights: The state dict.
        facts: The sidecar: architecture, labels, spacing, preparation, taps, config, commit, data digest.
    """

    weights: Mapping[str, Tensor]
    facts: Mapping[str, Any]


def save_checkpoint(network: nn.Module, facts: Mapping[str, Any], folder: Path) -> None:
    """Write weights and sidecar into a folder, which appears only when it is complete.

    Args:
        network: The network whose state dict is written.
        facts: The content of the sidecar.
        folder: The folder to create; an existing folder is replaced.

    Raises:
        InputError: The disk is full or the folder cannot be written; an existing folder is kept.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as partial:
            made = Path(partial) / folder.name
            _write(network, facts, made)
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk by its own class
        raise InputError(f"cannot write {folder}: {error}") from error


def _write(network: nn.Module, facts: Mapping[str, Any], folder: Path) -> None:
    folder.mkdir()
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, folder / WEIGHTS)
    sidecar = dict(facts) | {"sha256": _sha256(folder / WEIGHTS)}
    (folder / SIDECAR).write_text(json.dumps(sidecar, indent=1, default=str), encoding="utf-8")
    for name in (WEIGHTS, SIDECAR):
        with (folder / name).open("rb") as stream:
            os.fsync(stream.fileno())


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read weights and sidecar.

    Raises:
        InputError: A file is missing or unreadable, or the weights differ from the SHA-256 in the sidecar.
    """
    try:
        facts = json.loads((folder / SIDECAR).read_text(encoding="utf-8"))
        stated = facts.get("sha256")
        actual = _sha256(folder / WEIGHTS)
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"cannot read {WEIGHTS} and {SIDECAR} in {folder}: {error}") from error
    if actual != stated:
        raise InputError(f"SHA-256 of {folder / WEIGHTS} is {actual}, but its sidecar states {stated}")
    try:
        return Checkpoint(load_file(folder / WEIGHTS), facts)
    except SafetensorError as error:
        raise InputError(f"cannot read {folder / WEIGHTS} as safetensors: {error}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
