"""Which network a trainer of nnU-Net builds: that of plans.json, the same with batch norm, or one of its own."""

import ast
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmark.errors import InputError

BUILDER = "build_network_architecture"  # what a trainer overrides to build another network
PLAIN, BATCH_NORM = "nnUNetTrainer", "nnUNetTrainerBN"


def built_by(trainer: str) -> str | None:
    """The trainer class whose network a trainer builds: itself, or one that it inherits from.

    The classes are read off the installed package's files; nothing of them is imported, since some need packages that
    may be absent.

    Returns:
        The class's name; None where the trainer is none of nnU-Net's own.

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
    """Trainer class -> its first base, and whether it builds a network of its own."""
    spec = find_spec("nnunetv2")
    folder = Path(spec.origin).parent / "training" / "nnUNetTrainer" if spec and spec.origin else Path()
    found = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
                own = {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
                found[node.name] = (bases[0] if bases else "", BUILDER in own)
    return found


def trained_architecture(plan: Mapping[str, Any], trainer: str, *, source: str) -> tuple[dict[str, Any], list[str]]:
    """The architecture of a plan as a trainer builds it.

    Args:
        plan: A configuration of plans.json.
        trainer: The class's name, as the checkpoint has it.
        source: The source's name, for errors.

    Returns:
        The plan's `architecture`, and what there is to say of it.

    Raises:
        InputError: The trainer builds a network that the plan does not describe.
    """
    parts = dict(plan["architecture"])
    builder = built_by(trainer)
    if builder == BATCH_NORM:
        norm = f"torch.nn.modules.batchnorm.BatchNorm{len(plan['patch_size'])}d"
        parts["arch_kwargs"] = parts["arch_kwargs"] | {"norm_op": norm, "norm_op_kwargs": {"eps": 1e-5, "affine": True}}
        return parts, [f"trainer {trainer}: batch norm in place of the plan's norm"]
    if builder not in (PLAIN, None):
        raise InputError(
            f"source {source}: trainer {trainer} builds a network of its own, which plans.json does not describe; "
            "read it by source=factory"
        )
    return parts, ([] if builder else [f"assumed, since {other(trainer)}: network = that of plans.json"])


def other(trainer: str) -> str:
    """Why the network of a trainer is not known."""
    return f"trainer {trainer or '(not named)'} is none of nnU-Net's own"
