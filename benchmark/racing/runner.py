"""Runs the jobs of a race rung by rung, and reads what they measured."""

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from benchmark.errors import InputError, one_line
from benchmark.jobs.keys import job_key
from benchmark.jobs.path_arguments import quoted
from benchmark.orchestration.failed_jobs import FailedJob, failed_job
from benchmark.orchestration.launcher import launch, launcher_overrides
from benchmark.orchestration.planner import Job
from benchmark.orchestration.progress_display import Board, watch
from benchmark.racing.halving import Measured, Race, case_contributions
from benchmark.racing.job import KILLS, MARKER, TRAINING
from benchmark.racing.plan import RacePlan
from benchmark.storage.digest import text_digest
from benchmark.storage.files import read_json
from benchmark.tracking import Store
from benchmark.tracking.records import Row, Stage
from benchmark.training.dice import mean_dice
from benchmark.training.trainer import Trainer


class StoppedError(Exception):
    """The race is to end before a rung that has unfinished jobs (`stop=true`)."""


@contextmanager
def only_race(folder: Path) -> Iterator[None]:
    """Hold the folder of a race, which is created if missing, for the block; the kernel frees it if the process dies.

    Raises:
        InputError: Another race holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(folder / "race.lock").acquire(timeout=0)
    except Timeout:
        raise InputError(f"another race for {folder.name} is running in {folder}; wait for its end, or give this one "
                         "another output_dir") from None  # fmt: skip
    with held:
        yield


@dataclass(frozen=True)
class Trained:
    """What a candidate has reached with one seed.

    Attributes:
        steps: Steps of its training.
        seconds: Seconds of training and of measuring the validation cases of the rung, without earlier measurements.
        losses: (steps,) the loss at each step.
        dice: Validation case -> Dice of each foreground class; NaN for a class that is absent from the case.
        spacing: Voxel size of the grid that its Dice is measured on.
        validation_seconds: Seconds of measuring the validation cases of the rung.
    """

    steps: int
    seconds: float
    losses: Sequence[float]
    dice: dict[str, list[float]]
    spacing: str
    validation_seconds: float


@dataclass
class RaceRunner:
    """Runs and reads the jobs of a race.

    Attributes:
        plan: The plan of the race.
        store: The store of its jobs.
        trainer: The trainer.
        data: Digest of the task.
        seeds: Seeds of each candidate's training.
        folder: Folder of the plan and the jobs' logs.
        states: Folder of the training states of all races.
        shared: Overrides of every job.
        board: The progress of the jobs.
        stop: Whether nothing more is trained.
        trained: (candidate, seed, rung) -> what was measured.
        failures: Jobs that failed for another reason than their candidate.
    """

    plan: RacePlan
    store: Store
    trainer: Trainer
    data: str
    seeds: Sequence[int]
    folder: Path
    states: Path
    shared: Sequence[str]
    board: Board
    stop: bool = False
    trained: dict[tuple[str, int, str], Trained] = field(default_factory=dict)
    failures: list[FailedJob] = field(default_factory=list)
    _states: dict[tuple[str, int], str] = field(default_factory=dict, init=False)  # keys when first looked at

    @property
    def plan_path(self) -> Path:
        """The file of the plan."""
        return self.folder / "plan.json"

    def begin(self, *, retry: bool = False) -> None:
        """Forget the progress of an earlier race, and processes that were killed in the training of these candidates.

        Args:
            retry: Whether to discard the results of candidates that failed, so that they are trained again.
        """
        self.board.path.unlink(missing_ok=True)
        if retry:
            for name in self.plan.candidates:
                for seed in self.seeds:
                    for rung in self.trainer.rungs:
                        row = self.store.find(self._key(name, seed, rung))
                        if row is not None and row.tags.get("skipped"):
                            self.store.discard(row.run)
        for name in self.plan.candidates:
            for seed in self.seeds:
                self._marker(name, seed).unlink(missing_ok=True)

    def measure(self, rung: str, names: Sequence[str]) -> Measured:
        """Train candidates up to a rung and read their Dice on the validation cases.

        Before anything is trained, the plan is written and the states of all other candidates are deleted.

        Raises:
            InputError: A job failed for another reason than its candidate, or the files of a candidate have changed
                since the race began.
            StoppedError: Jobs are unfinished and `stop` is set.
        """
        self._check_unchanged(names)
        places = {self._key(name, seed, rung): (name, seed) for name in names for seed in self.seeds}
        unfinished = [place for key, place in places.items() if self.store.find(key) is None]
        left = {self._marker(*place): self._job(*place, rung) for place in unfinished}
        if left and self.stop:
            raise StoppedError
        steps = self.trainer.rungs[rung]
        before = max((step for step in self.trainer.rungs.values() if step < steps), default=0)
        self.board.remaining.expect(rung, {job.keys[0]: float(steps - before) for job in left.values()})
        if left:
            self.plan.write(self.plan_path)
            self.drop([name for name in self.plan.candidates if name not in names])
            with watch(self.board, rung, {job.keys[0] for job in left.values()}):
                self.failures = self._launch(rung, left)
        if self.failures:
            raise InputError(self._failed(rung))
        dice, failed = {}, {}
        for name in names:
            rows = {seed: self._row(name, seed, rung) for seed in self.seeds}
            if reasons := [row.tags["skipped"] for row in rows.values() if row.tags.get("skipped")]:
                failed[name] = reasons[0]
                continue
            own = {seed: self._read(row) for seed, row in rows.items()}
            self.trained |= {(name, seed, rung): trained for seed, trained in own.items()}
            cases = list(next(iter(own.values())).dice)
            values = [[trained.dice[case] for case in cases] for trained in own.values()]  # (s, m, k - 1)
            dice[name] = case_contributions(np.array(values, dtype=np.float64))
        return Measured(dice, failed)

    def _check_unchanged(self, names: Sequence[str]) -> None:
        seed = self.seeds[0]
        for name in names:
            if self.states / self.plan.state_key(name, seed=seed, data=self.data)[:32] != self.state_folder(name, seed):
                raise InputError(f"{name} has changed since the race began, so its rungs would be those of different "
                                 "networks; nothing more was trained, run the race again")  # fmt: skip

    def state_folder(self, name: str, seed: int) -> Path:
        """The folder of a candidate's training state."""
        if (name, seed) not in self._states:
            self._states[name, seed] = self.plan.state_key(name, seed=seed, data=self.data)
        return self.states / self._states[name, seed][:32]

    @property
    def checkpoint(self) -> Path:
        """The folder of the winner's checkpoint, or of the leader's so far."""
        return self.folder / "winner"

    @property
    def scored_cases(self) -> int:
        """The number of validation cases in which a candidate has a Dice: those with foreground."""
        return len(
            {case for own in self.trained.values() for case, dice in own.dice.items() if np.isfinite(dice).any()}
        )

    def points(self) -> list[dict[str, object]]:
        """One row per candidate, seed and rung that was measured.

        Returns:
            Rows with candidate, seed, rung, step, seconds (of training and the measurement), validation_seconds, dice.
        """
        return [
            {"candidate": name, "seed": seed, "rung": rung, "step": own.steps, "seconds": own.seconds,
             "validation_seconds": own.validation_seconds, "dice": mean_dice(list(own.dice.values()))}
            for (name, seed, rung), own in self.trained.items()
        ]  # fmt: skip

    def notes(self) -> list[str]:
        """Notes on the comparison: duplicate weights, differing voxel grids."""
        same: dict[Path, list[str]] = {}
        for name in self.plan.candidates:
            same.setdefault(self.state_folder(name, self.seeds[0]), []).append(name)
        lines = [f"the same weights, trained once: {', '.join(names)}" for names in same.values() if len(names) > 1]
        grids: dict[str, list[str]] = {}
        for (name, _, _), own in self.trained.items():
            grids.setdefault(own.spacing, []).append(name)
        if len(grids) > 1:
            listed = "; ".join(f"{spacing} mm: {', '.join(dict.fromkeys(names))}" for spacing, names in grids.items())
            lines.append(f"Dice is measured on each candidate's own grid, and these differ ({listed}); "
                         "preparation.spacing=target measures all on one")  # fmt: skip
        return lines

    def losses(self) -> list[dict[str, object]]:
        """One row per candidate, seed and step that was trained: candidate, seed, step, loss."""
        longest: dict[tuple[str, int], Trained] = {}
        for (name, seed, _), own in self.trained.items():
            if (name, seed) not in longest or own.steps > longest[name, seed].steps:
                longest[name, seed] = own
        return [
            {"candidate": name, "seed": seed, "step": step, "loss": loss}
            for (name, seed), own in longest.items()
            for step, loss in enumerate(own.losses, 1)
        ]

    def record(self, files: Sequence[Path], race: Race, *, register: str | None = None) -> str:
        """Write the run of a finished race, with its results as artifacts, and nest the runs of its jobs in it.

        Args:
            files: The results.
            race: The race.
            register: Name of a registered model that gets the checkpoint as a new version, once for a race.

        Returns:
            What was registered, in one line; empty if nothing was.

        Raises:
            InputError: The tracking store or the registry cannot be reached, or a file cannot be written.
        """
        inputs = {"jobs": sorted(self._key(*place) for place in self.trained), "budget": race.budget, "eta": race.eta}
        key = job_key(Stage.RACE, "benchmark.racing.halving", inputs)
        with self.store.claim(key) as finished:  # also while it is registered, so that no other process does so, too
            if finished is None:
                self._record(key, files, race)
            row = self.store.find(key)
            assert row is not None, "it was written or found above"
            self.store.nest(row.run, [self._row(*place).run for place in self.trained])
            if not register or race.leader is None:
                return ""
            tag = f"registered/{text_digest(register)[:16]}"  # MLflow takes fewer characters in a tag than in a name
            version = row.tags.get(tag) or str(self.store.register(register, self.checkpoint, run=row.run))
            self.store.tag(row.run, tag, version)
        return f"registered: models:/{register}/{version}"

    def _record(self, key: str, files: Sequence[Path], race: Race) -> None:
        name = f"race of {len(race.candidates)} for {self.folder.name}"
        params = {"target": self.folder.name, "candidates": len(race.candidates), "seeds": list(self.seeds),
                  "budget": race.budget, "winner": race.leader}  # fmt: skip
        with self.store.run(Stage.RACE, key, name, params=params, config=asdict(self.plan), suite="race") as draft:
            draft.describe(f"A race of {len(race.candidates)} candidates, won by **{race.leader}**.")
            best = race.decisions[-1].standings[0].dice
            share = race.spent / race.total
            steps = race.spent * len(self.seeds)
            draft.log(metrics={"validation_dice": best, "steps": steps, "share_of_steps": share})
            for path in files:
                draft.file(path)

    def drop(self, names: Sequence[str]) -> None:
        """Delete the training states of candidates; a candidate with the same weights as another shares its state."""
        kept = {self.state_folder(name, seed) for name in self.plan.candidates if name not in names
                for seed in self.seeds}  # fmt: skip
        for folder in {self.state_folder(name, seed) for name in names for seed in self.seeds} - kept:
            shutil.rmtree(folder, ignore_errors=True)

    def _marker(self, name: str, seed: int) -> Path:
        """Where a process that is killed in the training of a candidate leaves its marker."""
        return self.state_folder(name, seed) / MARKER

    def _row(self, name: str, seed: int, rung: str) -> Row:
        row = self.store.find(self._key(name, seed, rung))
        if row is None:
            raise InputError(
                f"the job of {name} up to {rung} ended without a result in the tracking store; the task, the candidate "
                "or the program probably changed during the run; run again to resume"
            )
        return row

    def _key(self, name: str, seed: int, rung: str) -> str:
        return self.plan.job_key(name, seed=seed, data=self.data, rung=rung)

    def _job(self, name: str, seed: int, rung: str) -> Job:
        place = list(self.plan.candidates).index(name)
        overrides = (f"race={quoted(str(self.plan_path))}", f"candidate={place}", f"seed={seed}", f"rung={rung}")
        return Job(overrides, (self._key(name, seed, rung),), 1.0)

    def _launch(self, rung: str, jobs: Mapping[Path, Job]) -> list[FailedJob]:
        """Launch jobs; after a killed worker, which ends the launcher, launch the unfinished ones again.

        All jobs that ran when a worker was killed end with it, whichever was the cause. Each is then launched alone, so
        that only the cause is killed again. A candidate whose process was killed `KILLS` times is skipped by its job,
        so a race ends also if no job of a launch finished.

        Args:
            rung: The rung.
            jobs: Marker of a killed process -> the job that leaves it.
        """
        failure: list[FailedJob] = []
        for attempt in range((KILLS + 2) * len(jobs) + 1):
            left = {marker: job for marker, job in jobs.items() if self.store.find(job.keys[0]) is None}
            tried = [marker for marker in left if marker.is_file()][:1] or list(left)
            batch = [left[marker] for marker in tried]
            if not batch:
                return []
            folder = str(self.folder / "jobs" / rung) + (f"_{attempt + 1}" if attempt else "")
            try:
                failure = launch("advance", batch, shared=self.shared, launcher=launcher_overrides(), folder=folder)
            except InputError:
                raise
            except Exception as error:
                failure = [failed_job("advance", job, error, folder) for job in batch]
                if not any(marker.is_file() for marker in tried):
                    return failure
                self.say(f"{rung}: a job was killed ({one_line(error)[:120]}); those that ran are tried again alone")
                continue
            if failure or len(batch) == len(left):
                return failure
        return failure

    def say(self, line: str) -> None:
        """Print a line."""
        self.board.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def _failed(self, rung: str) -> str:
        names = list(self.plan.candidates)
        first = self.failures[0]
        place = re.search(r"candidate=(\d+)", first.job)
        name = names[int(place[1])] if place else "a candidate"
        more = f" (and {len(self.failures) - 1} more)" if len(self.failures) > 1 else ""
        return (f"{name} was not trained up to {rung}{more}: {first.error}; what is finished is kept, run again to "
                "resume")  # fmt: skip

    def _read(self, row: Row) -> Trained:
        with tempfile.TemporaryDirectory(prefix="race_") as folder:
            content: dict[str, Any] = read_json(self.store.download(row.run, TRAINING, Path(folder)))
        dice = {case: [float(value) for value in values] for case, values in content["dice"].items()}
        return Trained(content["steps"], content["seconds"], content["losses"], dice, row.params["spacing"],
                       content["validation_seconds"])  # fmt: skip
