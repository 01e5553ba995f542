"""The networks that nnU-Net's trainers build: that of plans.json, the same with batch norm, or their own."""

import ast
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmark.errors import InputError

BUILDER = "build_network_architecture"  # the method that a trainer overrides to build another network
PLAIN, BATCH_NORM = "nnUNetTrainer", "nnUNetTrainerBN"


def built_by(trainer: str) -> str | None:
    """The class that defines a trainer's network: the trainer itself, or a class that it inherits from.

    The classes are parsed from the installed package's files and not imported, since some need packages that may be
    missing.

    Returns:
        The class's name; None if the trainer is not one of nnU-Net's own.

    Example:
        >>> built_by("nnUNetTrainer_250epochs"), built_by("nnUNetTrainerBN"), built_by("MyTrainer")
        ('nnUNetTrainer', 'nnUNetTrainerBN', None)
    """
    trainers = _trainers()
    while trainer in trainers:
        base, overrides = trainers[trainer]
        if overrides:
            return trainer
        trainer = base
    return None


@cache
def _trainers() -> Mapping[str, tuple[str, bool]]:
    """Trainer class -> its first base class, and whether it builds its own network."""
    spec = find_spec("nnunetv2")
    folder = Path(spec.origin).parent / "training" / "nnUNetTrainer" if spec and spec.origin else Path()
    trainers = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
                own = {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
                trainers[node.name] = (bases[0] if bases else "", BUILDER in own)
    return trainers


def trained_architecture(plan: Mapping[str, Any], trainer: str, *, source: str) -> tuple[dict[str, Any], list[str]]:
    """The architecture of a plan as modified by a trainer.

    Args:
        plan: A configuration of plans.json.
        trainer: The class's name in the checkpoint.
        source: The source's name, for errors.

    Returns:
        The plan's `architecture`, modified, and notes.

    Raises:
        InputError: The trainer builds a network that the plan does not describe.
    """
    parts = dict(plan["architecture"])
    builder = built_by(trainer)
    if builder == BATCH_NORM:
        norm = f"torch.nn.modules.batchnorm.BatchNorm{len(plan['patch_size'])}d"
        parts["arch_kwargs"] = parts["arch_kwargs"] | {"norm_op": norm, "norm_op_kwargs": {"eps": 1e-5, "affine": True}}
        return parts, [f"trainer {trainer}: batch norm instead of the plan's norm"]
    if builder not in (PLAIN, None):
        raise InputError(
            f"source {source}: trainer {trainer} builds a network of its own, which plans.json does not describe; "
            "read it by source=factory"
        )
    return parts, ([] if builder else [f"assumed, since {other(trainer)}: network = that of plans.json"])


def other(trainer: str) -> str:
    """Explain why a trainer's network is unknown."""
    return f"trainer {trainer or '(not named)'} is not one of nnU-Net's own"
