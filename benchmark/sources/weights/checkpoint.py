"""A source's weights on disk: safetensors with a JSON sidecar."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmark.errors import InputError
from benchmark.storage.digest import file_digest
from benchmark.storage.files import partial_folder, write_text

WEIGHTS = "weights.safetensors"
SIDECAR = "source.json"


@dataclass(frozen=True)
class Checkpoint:
    """A state dict and its sidecar: architecture, labels, spacing, preparation, taps, config, commit, data digest."""

    weights: Mapping[str, Tensor]
    facts: Mapping[str, Any]


def save_checkpoint(network: nn.Module, facts: Mapping[str, object], folder: Path) -> None:
    """Write a network's weights, and `facts` as their sidecar, into a folder that appears, or is replaced, as a whole.

    Raises:
        InputError: The disk is full or the folder cannot be written; an existing folder is kept.
    """
    try:
        with partial_folder(folder) as partial:
            weights = {
                name: tensor.detach().cpu().clone().contiguous() for name, tensor in network.state_dict().items()
            }
            save_file(weights, partial / WEIGHTS)
            sidecar = {**facts, "sha256": file_digest(partial / WEIGHTS)}
            write_text(partial / SIDECAR, json.dumps(sidecar, indent=1, default=str))
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk by its own class
        raise InputError(f"cannot write {folder}: {error}") from error


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read weights and sidecar.

    Raises:
        InputError: A file is missing or unreadable, or the weights differ from the SHA-256 in the sidecar.
    """
    try:
        facts = json.loads((folder / SIDECAR).read_text(encoding="utf-8"))
        stated = facts.get("sha256")
        actual = file_digest(folder / WEIGHTS)
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"cannot read {WEIGHTS} and {SIDECAR} in {folder}: {error}") from error
    if actual != stated:
        raise InputError(f"SHA-256 of {folder / WEIGHTS} is {actual}, but its sidecar states {stated}")
    try:
        return Checkpoint(load_file(folder / WEIGHTS), facts)
    except SafetensorError as error:
        raise InputError(f"cannot read {folder / WEIGHTS} as safetensors: {error}") from error
