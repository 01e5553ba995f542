"""The whole study in order: prepare, pretrain, truth, score, correlate; `python -m benchmark.bench experiment=scans`.

One process plans all stages and hands their jobs to a Hydra launcher. A job with a finished run in the store is
skipped, so that a bench goes on where it stopped.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmark import prepare, pretrain, score, truth
from benchmark.command import BAD_INPUT, FINISHED_WITH_FAILURES, one_line, run_command, told
from benchmark.errors import InputError
from benchmark.launch import Failure, launch
from benchmark.live import Board, watch
from benchmark.plan import Job, Planner
from benchmark.tracking import Store

COMMANDS: Mapping[str, Callable[[DictConfig], Any]] = {
    "prepare": prepare.run,
    "pretrain": pretrain.run,
    "truth": truth.run,
    "score": score.run,
}


@dataclass
class Bench:
    """A bench that is under way.

    Attributes:
        cfg: The bench's config.
        store: Where finished jobs are.
        launcher: Overrides that choose and set up the launcher.
        folder: Where the jobs' logs go.
        failures: The jobs that raised.
    """

    cfg: DictConfig
    store: Store
    launcher: list[str]
    folder: Path
    failures: list[Failure] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.board = Board(self.folder / "progress.jsonl")

    def say(self, line: str) -> None:
        """Print a line."""
        self.board.console.print(line, highlight=False, soft_wrap=True)

    def overrides(self) -> dict[str, list[str]]:
        """Stage -> the overrides that each of its jobs gets."""
        chosen = HydraConfig.get().runtime.choices
        places = [f"{name}={self.cfg[name]}" for name in ("data_dir", "output_dir", "threads")]
        tracking = [f"tracking.{name}='{self.cfg.tracking[name]}'" for name in ("uri", "artifacts")]
        shared = [
            *places,
            *tracking,
            f"device={chosen['device']}",
            f"device.amp={self.cfg.device.amp or 'null'}",
            f"progress={self.board.path}",
            *self.cfg.overrides.all,
        ]
        experiment = [f"experiment={chosen['experiment']}"]
        return {
            stage: [*shared, *(experiment if stage != "prepare" else [f"suite={chosen['suite']}"]),
                    *self.cfg.overrides.get(stage, [])]
            for stage in (*COMMANDS, "correlate")
        }  # fmt: skip

    def stage(self, name: str, jobs: Sequence[Job], overrides: Sequence[str], done: set[str]) -> None:
        """Run the jobs of a stage that are not finished."""
        if not jobs:
            return
        left = [job for job in jobs if not set(job.keys) <= done]
        keys = {key for job in left for key in job.keys}
        if not left:
            self.say(f"{name}: all {len(jobs)} jobs were finished before")
            return
        with watch(self.board, name, keys):
            self.failures += launch(
                name,
                COMMANDS[name],
                [job.overrides for job in left],
                shared=overrides,
                launcher=self.launcher,
                folder=str(self.folder / name),
            )
        self.say(f"{name}: {len(left)} jobs run, {len(jobs) - len(left)} were finished before")


def run(cfg: DictConfig) -> None:
    """Run every stage, print the table, list what failed."""
    _check_truth(cfg)
    store: Store = instantiate(cfg.tracking)
    store.prepare()
    bench = Bench(
        cfg,
        store,
        _launcher_overrides(),
        Path(cfg.output_dir) / "bench" / time.strftime("%Y-%m-%d_%H-%M-%S"),
    )
    overrides = bench.overrides()
    planner = Planner(cfg.suite, overrides)
    finished = set(store.finished())
    tasks = planner.prepare()
    there = {key for job in tasks for key in job.keys if _is_there(overrides["prepare"], job)} & finished
    bench.board.work |= {key: job.work for job in tasks for key in job.keys if key not in there}
    bench.stage("prepare", tasks, overrides["prepare"], there)
    if not bench.failures:
        _after_prepare(bench, planner, overrides, finished)
    _finish(bench)


def _after_prepare(bench: Bench, planner: Planner, overrides: Mapping[str, Sequence[str]], finished: set[str]) -> None:
    sources = planner.pretrain()
    pretrained = {job.overrides[0].partition("=")[2]: job.keys[0] for job in sources}
    pools = planner.pools()
    truths = [] if bench.cfg.truth == "table" else planner.truth(pools, pretrained)
    pairs = {"truth": truths, "score": planner.score(pools, pretrained)}
    for job in [*sources, *pairs["truth"], *pairs["score"]]:
        if not set(job.keys) <= finished:
            bench.board.work |= {key: job.work / len(job.keys) for key in job.keys}
    bench.stage("pretrain", sources, overrides["pretrain"], finished)
    for stage, jobs in pairs.items():
        bench.stage(stage, jobs, overrides[stage], finished)
    keys = {stage: [key for job in jobs for key in job.keys] for stage, jobs in pairs.items()}
    table = [f"{name}='{bench.cfg[name]}'" for name in ("truth", "table") if bench.cfg[name] is not None]
    _correlate(bench, [*overrides["correlate"], *table], keys | {"pretrain": list(pretrained.values())})


def _correlate(bench: Bench, overrides: Sequence[str], keys: Mapping[str, Sequence[str]]) -> None:
    from analysis import correlate

    try:
        correlate.run(compose("correlate", list(overrides)), keys)
    except InputError as error:
        bench.failures.append(Failure("correlate", error, str(bench.folder)))
    uri = bench.cfg.tracking.uri
    bench.say(f"all runs: mlflow ui --backend-store-uri {uri}   (make ui)")


def _check_truth(cfg: DictConfig) -> None:
    """A bad table is told before hours of work, not after."""
    from analysis.truth_table import read_truth_table

    read_truth_table(cfg.truth, cfg.table)


def _is_there(overrides: Sequence[str], job: Job) -> bool:
    node = compose("prepare", [*overrides, *job.overrides]).task
    there: bool = instantiate(node).is_made(code=prepare.cutting_code(node))
    return there


def _launcher_overrides() -> list[str]:
    """The launcher's choice and settings, as given to the bench, for its stages."""
    given = [one for one in HydraConfig.get().overrides.hydra if one.startswith(("hydra.launcher", "hydra/launcher"))]
    choice = f"hydra/launcher={HydraConfig.get().runtime.choices['hydra/launcher']}"
    return [choice, *[one for one in given if not one.startswith("hydra/launcher=")]]


def _finish(bench: Bench) -> None:
    minutes = bench.board.elapsed() / 60.0
    bench.say(f"the bench took {minutes:.1f} min")
    if not bench.failures:
        return
    bench.say(f"{len(bench.failures)} jobs failed; what is finished stays, and the next run goes on:")
    for failure in bench.failures:
        bench.say(f"  {failure.job}: {one_line(failure.error)} (log: {failure.log})")
    bad = all(told(failure.error) for failure in bench.failures)
    sys.stderr.write(f"error: {one_line(bench.failures[0].error)}\n")
    sys.exit(BAD_INPUT if bad else FINISHED_WITH_FAILURES)


def main() -> None:
    """Entry point."""
    run_command("bench", run)


if __name__ == "__main__":
    main()
