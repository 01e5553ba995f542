"""Runs the jobs of a stage on a Hydra launcher: basic, joblib, Slurm or Ray.

Hydra cannot launch jobs from Python through its public interface. This file is the only one that uses `hydra._internal`
and the signatures of its plugins, for which pyproject.toml pins hydra-core to 1.3.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.types import HydraContext, RunMode
from hydra.utils import get_method
from omegaconf import DictConfig, open_dict

from benchmark.jobs.cli import run_job
from benchmark.jobs.interrupts import only_this_process_interrupted
from benchmark.orchestration.failed_jobs import FailedJob, failed_job
from benchmark.orchestration.planner import Job

QUIET = ("hydra/hydra_logging=disabled", "hydra.job_logging.root.handlers=[file]")  # jobs write to their own log files


def launch(
    stage: str, jobs: Sequence[Job], *, shared: Sequence[str], launcher: Sequence[str], folder: str
) -> list[FailedJob]:
    """Run the jobs of one stage; a failing job does not stop the others.

    Args:
        stage: The stage, which is the name of the command that its jobs run.
        jobs: The jobs.
        shared: Overrides of every job.
        launcher: Overrides that choose and set up the launcher, such as `hydra/launcher=joblib`.
        folder: Where the jobs' logs go.

    Returns:
        The jobs that raised.
    """
    loader = GlobalHydra.instance().config_loader()
    own = [*QUIET, *launcher, f"hydra.sweep.dir={folder}", f"hydra.job.name={stage}"]
    config = loader.load_configuration(stage, [*shared, *own], run_mode=RunMode.MULTIRUN)
    with open_dict(config.hydra):
        config.hydra.overrides.task = list(shared)
    chosen = Plugins.instance().instantiate_launcher(
        hydra_context=HydraContext(config_loader=loader, callbacks=Callbacks(config)),
        task_function=partial(run_job, get_method(f"benchmark.{stage}.run")),
        config=config,
    )
    each = [[*shared, *job.overrides] for job in jobs]
    with only_this_process_interrupted() if _has_local_workers(config) else nullcontext():
        returns = chosen.launch(each, initial_job_idx=0)
    return [
        failed_job(stage, job, done._return_value, f"{folder}/{index}/{stage}.log")
        for index, (job, done) in enumerate(zip(jobs, returns, strict=True))
        if done.status != JobStatus.COMPLETED
    ]


def _has_local_workers(config: DictConfig) -> bool:
    """Whether the launcher is joblib's, whose workers get Ctrl-C from the terminal; a job lets it through again."""
    return str(config.hydra.launcher._target_).endswith(".JoblibLauncher")


def launcher_overrides() -> list[str]:
    """Overrides that give jobs the launcher of the command."""
    every = HydraConfig.get().overrides.hydra
    given = [item for item in every if item.lstrip("+~").startswith(("hydra.launcher", "hydra/launcher"))]
    choice = f"hydra/launcher={HydraConfig.get().runtime.choices['hydra/launcher']}"
    return [choice, *[item for item in given if not item.startswith("hydra/launcher=")]]
