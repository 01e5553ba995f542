"""Checkpoints of nnU-Net v2: the files of a results folder, and single files that describe their network themselves."""

import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import InputError, listed
from benchmark.sources.weights.safe_load import SUFFIXES

# in the order of preference
CHECKPOINTS = {"final": "checkpoint_final.pth", "best": "checkpoint_best.pth", "latest": "checkpoint_latest.pth"}
DESCRIPTION = ("plans.json", "dataset.json")
OTHER_PLANS = "adaptation_plan.json"  # of nnssl, whose results folders have plans.json and folds, too
WEIGHTS = b"network_weights"
TRAINING = (b"init_args", b"trainer_name", b"inference_allowed_mirroring_axes")
PRETRAINING = (b"nnssl_adaptation_plan", b"pretrain_json")  # keys of nnssl
PICKLE_BYTES = 2**26  # of a checkpoint's pickle without its tensors, which has about 200 bytes per tensor
OLD_PICKLE_BYTES = 2**20  # at the start of a file of torch before 1.6, which has the tensors after the pickle
VERSION_1 = ".model"  # the suffix of nnU-Net v1
VERSION_1_KEYS = (b"plot_stuff", b"optimizer_state_dict")
VERSION_1_NETWORKS = (b"conv_blocks_context.0.0.conv1.weight", b"enc_block_0.0.conv1.weight")  # STU-Net, MedNeXt


@dataclass(frozen=True)
class Choice:
    """The checkpoint that is read, and notes: its fold and name, why it is not final, and the other checkpoints."""

    path: Path
    notes: tuple[str, ...] = ()


def is_results_folder(folder: Path) -> bool:
    """Whether a folder is nnU-Net's `Trainer__Plans__configuration`: it has plans.json, or folds and such a name."""
    if (folder / OTHER_PLANS).is_file():
        return False
    if (folder / "plans.json").is_file():
        return True
    return (folder.name.count("__") == 2 or (folder / "dataset.json").is_file()) and bool(_folds(folder))


def is_fold(folder: Path) -> bool:
    """Whether a folder is `fold_X` of a results folder."""
    return folder.name.startswith("fold_") and is_results_folder(folder.parent)


def is_checkpoint(path: Path) -> bool:
    """Whether a weights file is a checkpoint of nnU-Net v2, by the keys in its pickle; tensors are not read."""
    if path.suffix not in SUFFIXES or path.suffix == ".safetensors" or not path.is_file():
        return False
    text = pickled(path)
    is_nnunet = WEIGHTS in text and any(key in text for key in TRAINING)
    return is_nnunet and not any(key in text for key in PRETRAINING)


def is_version_1(path: Path) -> bool:
    """Whether a file is a model of nnU-Net v1, by its `.model.pkl` or the keys in its pickle."""
    if path.suffix != VERSION_1 or not path.is_file():
        return False
    return path.with_name(f"{path.name}.pkl").is_file() or all(key in pickled(path) for key in VERSION_1_KEYS)


def is_known_version_1(path: Path) -> bool:
    """Whether a file is a model of nnU-Net v1 whose network is recognised by its tensors."""
    return is_version_1(path) and any(name in pickled(path) for name in VERSION_1_NETWORKS)


def pickled(path: Path) -> bytes:
    """The pickle of a file that torch.save wrote, without its tensors; it is not loaded. Empty for other files."""
    try:
        with path.open("rb") as stream:
            if stream.read(1) == b"\x80":
                return stream.read(OLD_PICKLE_BYTES)
        with zipfile.ZipFile(path) as archive:
            name = next((name for name in archive.namelist() if name.endswith("/data.pkl")), None)
            if name is None:
                return b""
            with archive.open(name) as stream:
                return stream.read(PICKLE_BYTES)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error):
        return b""


def description_folder(checkpoint: Path) -> Path:
    """The folder where nnU-Net writes plans.json and dataset.json of a checkpoint."""
    return checkpoint.parent.parent if checkpoint.parent.name.startswith("fold_") else checkpoint.parent


def fold_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of all folds of a results folder; the first is the default.

    Files with other names than nnU-Net's own are the last, those with the largest numbers first. The checkpoints of a
    folder without folds lie in the folder itself.
    """
    folds = _folds(folder) or [folder]
    own = [path for name in CHECKPOINTS.values() for fold in folds if (path := fold / name).is_file()]
    files = [path for fold in folds for path in sorted(fold.glob("*.pth"), key=_number, reverse=True)]
    return own + [path for path in files if path.name not in CHECKPOINTS.values() and is_checkpoint(path)]


def choose_checkpoint(
    folder: Path, *, source: str, fold: int | str | None = None, checkpoint: str | None = None
) -> Choice:
    """Choose a checkpoint: final before best before latest before others, of the first fold that has it.

    Args:
        folder: The results folder.
        source: The source's name, for errors.
        fold: The fold, a number or "all"; None: any.
        checkpoint: "final", "best", "latest" or the name of another file; None: any.

    Raises:
        InputError: The folder has no fold, or lacks this fold or checkpoint.
    """
    folds = [path.name.removeprefix("fold_") for path in _folds(folder)]
    paths = fold_checkpoints(folder)
    if not folds and (fold is not None or not paths):
        raise InputError(f"no fold_X folder in {folder}: it is not a results folder of nnU-Net")
    if fold is not None and str(fold) not in folds:
        raise InputError(f"source {source}: `fold` must be one of {', '.join(folds)}, got {fold}")
    others = sorted({path.name for path in paths} - set(CHECKPOINTS.values()))
    if checkpoint not in (None, *CHECKPOINTS, *others):
        known = ", ".join((*CHECKPOINTS, *others))
        raise InputError(f"source {source}: `checkpoint` must be one of {known}, got {checkpoint}")
    suitable = [path for path in paths if fold is None or path.parent.name == f"fold_{fold}"]
    suitable = [path for path in suitable if checkpoint is None or path.name == CHECKPOINTS.get(checkpoint, checkpoint)]
    if not suitable:
        raise InputError(missing_checkpoint(folder, fold=fold, checkpoint=checkpoint))
    path = suitable[0]
    notes = [_place(path, folder, ", "), *([] if checkpoint else _why(path, fold))]
    unread = sorted(_place(other, folder, "/") for other in paths if other != path)
    if unread:
        notes.append(f"other checkpoints of the results folder: {', '.join(unread)}")
    return Choice(path, tuple(notes))


def missing_checkpoint(folder: Path, *, fold: int | str | None = None, checkpoint: str | None = None) -> str:
    """Describe the checkpoint that a results folder lacks."""
    folds = [path.name for path in _folds(folder)] if fold is None else [f"fold_{fold}"]
    if not folds:
        return f"no fold_X folder in {folder}"
    names = [CHECKPOINTS.get(checkpoint, checkpoint)] if checkpoint else list(CHECKPOINTS.values())
    return f"no {' or '.join(names)} in {', '.join(folds)} of {folder}"


def _folds(folder: Path) -> list[Path]:
    """The folders `fold_X`: numbers in ascending order, then `fold_all`."""
    folds = [path for path in folder.glob("fold_*") if path.is_dir()]
    return sorted(folds, key=lambda path: (not (fold := path.name.removeprefix("fold_")).isdigit(), len(fold), fold))


def _number(path: Path) -> tuple[int, str]:
    """Sort key for checkpoints: the last number in the name, such as the epoch."""
    numbers = re.findall(r"\d+", path.stem)
    return int(numbers[-1]) if numbers else -1, path.name


def _place(path: Path, folder: Path, separator: str) -> str:
    return path.name if path.parent == folder else f"{path.parent.name}{separator}{path.name}"


def _why(path: Path, fold: int | str | None) -> list[str]:
    names = list(CHECKPOINTS.values())
    better = names[: names.index(path.name)] if path.name in names else names
    if not better:
        return []
    place = "no fold has" if fold is None else f"fold_{fold} does not have"
    return [f"{path.name} is read because {place} {' or '.join(better)}; the training may be unfinished"]


def missing_description(checkpoint: Path, missing: list[str]) -> InputError:
    """The error for a checkpoint whose plans.json or dataset.json is neither in its folder nor in the file itself."""
    folder, names = description_folder(checkpoint), " and ".join(missing)
    files = "file" if len(missing) == 1 else "files"
    return InputError(
        f"{listed([str(folder / name) for name in missing])} not found, and {checkpoint} has no copy in its init_args; "
        f"nnU-Net writes {names} into the folder Trainer__Plans__configuration, which contains fold_X: copy the "
        f"{files} to {folder}"
    )
