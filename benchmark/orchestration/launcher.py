"""Runs the jobs of a stage on a Hydra launcher: basic, joblib, Slurm or Ray."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, open_dict

from benchmark.jobs.cli import CONF, run_job

log = logging.getLogger(__name__)

QUIET = ("hydra/hydra_logging=disabled", "hydra.job_logging.root.handlers=[file]")  # jobs write to their own log files


@dataclass(frozen=True)
class Failure:
    """A job that raised.

    Attributes:
        job: The job's overrides.
        error: What it raised.
        log: The job's log file.
    """

    job: str
    error: BaseException
    log: str


def launch(
    command: str,
    task: Callable[[DictConfig], Any],
    jobs: Sequence[Sequence[str]],
    *,
    shared: Sequence[str],
    launcher: Sequence[str],
    folder: str,
) -> list[Failure]:
    """Run the jobs of one stage; a failing job does not stop the others.

    Args:
        command: Name of the root config of the jobs.
        task: The function that runs a job.
        jobs: The overrides of each job.
        shared: Overrides of every job.
        launcher: Overrides that choose and set up the launcher, such as `hydra/launcher=joblib`.
        folder: Where the jobs' logs go.

    Returns:
        The jobs that raised.
    """
    loader = ConfigLoaderImpl(config_search_path=create_config_search_path(str(CONF)))
    own = [*QUIET, *launcher, f"hydra.sweep.dir={folder}", f"hydra.job.name={command}"]
    config = loader.load_configuration(command, [*shared, *own], run_mode=RunMode.MULTIRUN)
    with open_dict(config.hydra):
        config.hydra.overrides.task = list(shared)
    callbacks = Callbacks(config)
    context = HydraContext(config_loader=loader, callbacks=callbacks)
    chosen = Plugins.instance().instantiate_launcher(
        hydra_context=context, task_function=partial(run_job, task), config=config
    )
    returns = chosen.launch([[*shared, *job] for job in jobs], initial_job_idx=0)
    return [
        Failure(" ".join(job), done._return_value, f"{folder}/{index}/{command}.log")
        for index, (job, done) in enumerate(zip(jobs, returns, strict=True))
        if done.status != JobStatus.COMPLETED
    ]
