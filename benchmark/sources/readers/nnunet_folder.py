"""Results folders of nnU-Net v2: the choice of a checkpoint, and the network that a trainer builds.

A trainer builds the network of plans.json, the same with batch norm, or one of its own.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from benchmark.data.preprocessing.planning import Plans
from benchmark.errors import InputError

# in the order of preference
CHECKPOINTS = {"final": "checkpoint_final.pth", "best": "checkpoint_best.pth", "latest": "checkpoint_latest.pth"}
BUILDER = "build_network_architecture"  # the method that a trainer overrides to build another network
PLAIN, BATCH_NORM = "nnUNetTrainer", "nnUNetTrainerBN"


@dataclass(frozen=True)
class Choice:
    """The checkpoint that is read, and notes: its fold and name, why it is not final, and the other checkpoints."""

    path: Path
    notes: tuple[str, ...]


def is_results_folder(folder: Path) -> bool:
    """Whether a folder is nnU-Net's `Trainer__Plans__configuration`: it has plans.json, or folds and such a name."""
    if (folder / "plans.json").is_file():
        return True
    return (folder.name.count("__") == 2 or (folder / "dataset.json").is_file()) and bool(_folds(folder))


def is_fold(folder: Path) -> bool:
    """Whether a folder is `fold_X` of a results folder."""
    return folder.name.startswith("fold_") and is_results_folder(folder.parent)


def fold_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of all folds of a results folder; the first is the default."""
    folds = _folds(folder)
    return [path for name in CHECKPOINTS.values() for fold in folds if (path := fold / name).is_file()]


def choose_checkpoint(
    folder: Path, *, source: str, fold: int | str | None = None, checkpoint: str | None = None
) -> Choice:
    """Choose a checkpoint: final before best before latest, of the first fold that has it.

    Args:
        folder: The results folder.
        source: The source's name, for errors.
        fold: The fold, a number or "all"; None: any.
        checkpoint: "final", "best" or "latest"; None: any.

    Raises:
        InputError: The folder has no fold, or lacks this fold or checkpoint.
    """
    folds = [path.name.removeprefix("fold_") for path in _folds(folder)]
    if not folds:
        raise InputError(f"no fold_X folder in {folder}: it is not a results folder of nnU-Net")
    if fold is not None and str(fold) not in folds:
        raise InputError(f"source {source}: `fold` must be one of {', '.join(folds)}, got {fold}")
    if checkpoint not in (None, *CHECKPOINTS):
        raise InputError(f"source {source}: `checkpoint` must be one of {', '.join(CHECKPOINTS)}, got {checkpoint}")
    paths = fold_checkpoints(folder)
    suitable = [path for path in paths if fold is None or path.parent.name == f"fold_{fold}"]
    suitable = [path for path in suitable if checkpoint is None or path.name == CHECKPOINTS[checkpoint]]
    if not suitable:
        raise InputError(missing_checkpoint(folder, fold=fold, checkpoint=checkpoint))
    path = suitable[0]
    notes = [f"{path.parent.name}, {path.name}", *([] if checkpoint else _why(path, fold))]
    others = sorted(f"{other.parent.name}/{other.name}" for other in paths if other != path)
    if others:
        notes.append(f"other checkpoints of the results folder: {', '.join(others)}")
    return Choice(path, tuple(notes))


def missing_checkpoint(folder: Path, *, fold: int | str | None = None, checkpoint: str | None = None) -> str:
    """Describe the checkpoint that a results folder lacks."""
    folds = [path.name for path in _folds(folder)] if fold is None else [f"fold_{fold}"]
    if not folds:
        return f"no fold_X folder in {folder}"
    names = [CHECKPOINTS[checkpoint]] if checkpoint else list(CHECKPOINTS.values())
    return f"no {' or '.join(names)} in {', '.join(folds)} of {folder}"


def _folds(folder: Path) -> list[Path]:
    """The folders `fold_X`: numbers in ascending order, then `fold_all`."""
    folds = [path for path in folder.glob("fold_*") if path.is_dir()]
    return sorted(folds, key=lambda path: (not (fold := path.name.removeprefix("fold_")).isdigit(), len(fold), fold))


def _why(path: Path, fold: int | str | None) -> list[str]:
    names = list(CHECKPOINTS.values())
    better = names[: names.index(path.name)]
    if not better:
        return []
    place = "no fold has" if fold is None else f"fold_{fold} does not have"
    return [f"{path.name} is read because {place} {' or '.join(better)}; the training may be unfinished"]


def built_by(trainer: str) -> str | None:
    """The class that defines a trainer's network: the trainer itself, or a class that it inherits from.

    The classes are parsed from the installed package's files and not imported, since some need packages that may be
    missing. None if the trainer is not one of nnU-Net's own.

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


def trained_architecture(plan: Plans, trainer: str, *, source: str) -> tuple[Plans, list[str]]:
    """The `architecture` of a plan in plans.json as modified by a trainer, and notes.

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
    return parts, ([] if builder else [f"assumed, since {unknown_trainer(trainer)}: network = that of plans.json"])


def unknown_trainer(trainer: str) -> str:
    """Explain why a trainer's network is unknown."""
    return f"trainer {trainer or '(not named)'} is not one of nnU-Net's own"
