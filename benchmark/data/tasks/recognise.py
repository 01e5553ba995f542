"""Recognise the kind of task in a folder."""

from pathlib import Path
from typing import Any

from benchmark.data.tasks.msd_layout import read_json
from benchmark.errors import InputError

KINDS = {
    "msd": "benchmark.data.tasks.msd.MsdTask",
    "nnunet": "benchmark.data.tasks.nnunet.NnunetTask",
    "nnunet_preprocessed": "benchmark.data.tasks.preprocessed.PreprocessedTask",
}


def recognise_task(path: Path) -> dict[str, Any]:
    """The config node of the task in a folder, with every setting at its default.

    Args:
        path: A folder with dataset.json, in the layout of MSD or of nnU-Net's raw or preprocessed data.

    Raises:
        InputError: The folder has none of these layouts.
    """
    kind = recognise_layout(path)
    node: dict[str, Any] = {"_target_": KINDS[kind], "_convert_": "all", "folder": str(path)}
    if kind == "nnunet_preprocessed":
        return node | {"plans": _plans(path)[0].stem}
    return node | {"plan": {"_target_": "benchmark.data.preprocessing.planning.Plan", "kind": "zscore"}}


def recognise_layout(path: Path) -> str:
    """The name of a folder's layout, which is also the name of its yaml.

    Raises:
        InputError: The layout is unknown.
    """
    if not path.is_dir():
        raise InputError(f"task {path} not found: it must be a folder with dataset.json")
    description = read_json(path / "dataset.json")
    if "channel_names" in description:
        return "nnunet" if (path / "imagesTr").is_dir() or "dataset" in description or not _plans(path) else (
            "nnunet_preprocessed"
        )  # fmt: skip
    if isinstance(description.get("training"), list):
        return "msd"
    raise InputError(f"{path}/dataset.json must have the key training (MSD) or channel_names (nnU-Net v2), "
                     f"got {sorted(description)}")  # fmt: skip


def _plans(path: Path) -> list[Path]:
    """The plans in a folder, nnU-Net's default first."""
    return sorted(path.glob("*Plans.json"), key=lambda plans: (plans.stem != "nnUNetPlans", plans.name))
