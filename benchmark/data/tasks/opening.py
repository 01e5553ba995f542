"""Open tasks: recognise the layout of a folder, and generate embedded tasks that do not exist on this machine yet."""

from pathlib import Path

from filelock import FileLock
from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmark.data.files.description import read_description
from benchmark.data.tasks.task import Task
from benchmark.errors import InputError
from benchmark.jobs.cli import resolved
from benchmark.jobs.keys import code_digest, targets


def cutting_code(task: DictConfig) -> str:
    """Digest of the code that generates a task's cases."""
    return code_digest(tuple(sorted(set(targets(resolved(task))))))


def prepared(node: DictConfig, data_dir: str | Path) -> Task:
    """Open a config's task; an embedded task that does not exist in `data_dir` yet is generated first."""
    task: Task = instantiate(node)
    code = cutting_code(node)
    if not task.is_made(code=code):
        make(task, Path(data_dir), code)
    return task


def make(task: Task, data_dir: Path, code: str) -> bool:
    """Generate or check a task; a lock lets only one process do so at a time."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(data_dir / f".{task.name}.lock"):
        return task.prepare(data_dir / "packages", code=code)


def recognise_task(path: Path, *, links: bool = False) -> dict[str, object]:
    """The config node of the task in a folder, with every other setting at its default.

    Args:
        path: The folder.
        links: Whether symbolic links in the folder may lead out of it.

    Raises:
        InputError: The folder has no dataset.json in the layout of MSD or of nnU-Net's raw or preprocessed data.
    """
    if not path.is_dir():
        raise InputError(f"task {path} not found: it must be a folder with dataset.json")
    description = read_description(path)
    node: dict[str, object] = {"_convert_": "all", "folder": str(path)} | ({"links": True} if links else {})
    planned = node | {"plan": {"_target_": "benchmark.data.preprocessing.planning.Plan", "kind": "zscore"}}
    if "channel_names" in description:
        # nnU-Net's default plans first
        plans = sorted(path.glob("*Plans.json"), key=lambda plans: (plans.stem != "nnUNetPlans", plans.name))
        if (path / "imagesTr").is_dir() or "dataset" in description or not plans:
            return planned | {"_target_": "benchmark.data.tasks.nnunet.NnunetTask"}
        return node | {"_target_": "benchmark.data.tasks.nnunet.PreprocessedTask", "plans": plans[0].stem}
    if isinstance(description.get("training"), list):
        return planned | {"_target_": "benchmark.data.tasks.msd.MsdTask"}
    raise InputError(f"{path}/dataset.json must have the key training (MSD) or channel_names (nnU-Net v2), "
                     f"got {sorted(description)}")  # fmt: skip
