"""Results folders of nnU-Net v2, and the choice of a checkpoint in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import InputError

# in the order of preference
CHECKPOINTS = {"final": "checkpoint_final.pth", "best": "checkpoint_best.pth", "latest": "checkpoint_latest.pth"}


@dataclass(frozen=True)
class Choice:
    """The checkpoint that is read.

    Attributes:
        path: The file.
        notes: Its fold and name, why it is not a final checkpoint, and the other checkpoints; one line each.
    """

    path: Path
    notes: tuple[str, ...]


def is_results_folder(folder: Path) -> bool:
    """Whether a folder is nnU-Net's `Trainer__Plans__configuration`: it has plans.json, or folds and such a name."""
    if (folder / "plans.json").is_file():
        return True
    described = folder.name.count("__") == 2 or (folder / "dataset.json").is_file()
    return described and bool(_folds(folder))


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
    suitable = [
        path
        for path in paths
        if (fold is None or path.parent.name == f"fold_{fold}")
        and (checkpoint is None or path.name == CHECKPOINTS[checkpoint])
    ]
    if not suitable:
        raise InputError(missing_checkpoint(folder, fold=fold, checkpoint=checkpoint))
    path = suitable[0]
    why = [] if checkpoint else _why(path, fold)
    return Choice(path, (f"{path.parent.name}, {path.name}", *why, *_others(path, paths)))


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
    """Explain the choice of a checkpoint that is not final."""
    names = list(CHECKPOINTS.values())
    better = names[: names.index(path.name)]
    if not better:
        return []
    place = "no fold has" if fold is None else f"fold_{fold} does not have"
    return [f"{path.name} is read because {place} {' or '.join(better)}; the training may be unfinished"]


def _others(path: Path, paths: Sequence[Path]) -> list[str]:
    others = sorted(f"{other.parent.name}/{other.name}" for other in paths if other != path)
    return [f"other checkpoints of the results folder: {', '.join(others)}"] if others else []
