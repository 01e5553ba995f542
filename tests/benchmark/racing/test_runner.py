"""A race's runner with a store and a launcher of plain Python: what is trained, kept, deleted and refused."""

import json
from collections import Counter
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from filelock import FileLock
from mlflow.utils.validation import validate_param_and_metric_name

from benchmark.errors import InputError
from benchmark.orchestration.progress_display import Board
from benchmark.racing import runner as module
from benchmark.racing.halving import Race
from benchmark.racing.job import KILLS, MARKER
from benchmark.racing.plan import RacePlan
from benchmark.racing.runner import RaceRunner, StoppedError, only_race
from benchmark.tracking.records import Row, Stage
from benchmark.training.dice import mean_dice
from benchmark.training.resume import state_path

RUNGS = {"eighth": 1, "quarter": 2, "half": 4, "full": 8}
NAMES = ("a", "b", "c")
NAN = float("nan")
DICE = {"case_0": [0.5, 1.0], "case_1": [0.25, NAN], "case_2": [NAN, NAN]}


class Trainer:
    rungs = RUNGS


class Keys(RacePlan):
    """A plan whose keys are readable."""

    def state_key(self, name, *, seed, data):
        return f"{name}-{seed}"

    def job_key(self, name, *, seed, data, rung):
        return f"{name}/{seed}/{rung}"


class Memory:
    """A store of finished jobs in memory; `skipped` names those whose candidate failed."""

    def __init__(self):
        self.skipped, self.rows = {}, {}

    def finish(self, key):
        tags = {"skipped": self.skipped[key]} if key in self.skipped else {}
        self.rows[key] = Row(str(Stage.RACE), key, "", params={"spacing": "as stored"}, tags=tags, run=key)

    def find(self, key):
        return self.rows.get(key)

    def download(self, run, name, folder):
        content = {"steps": RUNGS[run.rpartition("/")[2]], "seconds": 2.0, "losses": [1.0], "dice": DICE,
                   "validation_seconds": 1.0}  # fmt: skip
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
        return folder / name


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """Runs three candidates; a job that is launched leaves a state and a finished row."""
    made = RaceRunner(
        plan=Keys({}, {name: {} for name in NAMES}, {}, {}),
        store=Memory(),
        trainer=Trainer(),
        data="",
        seeds=(0,),
        folder=tmp_path / "race" / "mine",
        states=tmp_path / "states",
        shared=(),
        board=Board(tmp_path / "race" / "mine" / "progress.jsonl"),
    )

    def launch(stage, jobs, **settings):
        for job in jobs:
            name, seed, _ = job.keys[0].split("/")
            place = state_path(made.state_folder(name, int(seed)))
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"state")
            made.store.finish(job.keys[0])
        return []

    monkeypatch.setattr(module, "launch", launch)
    monkeypatch.setattr(module, "launcher_overrides", list)
    return made


def states(runner):
    return {name for name in NAMES if state_path(runner.state_folder(name, 0)).is_file()}


def test_a_race_compares_by_the_mean_dice_that_is_reported(runner):
    measured = runner.measure("eighth", NAMES)
    assert np.nanmean(measured.dice["a"]) == pytest.approx(mean_dice(list(DICE.values())))
    assert runner.points()[0]["dice"] == mean_dice(list(DICE.values()))
    assert runner.scored_cases == 2


def test_states_of_candidates_that_do_not_continue_are_deleted_before_the_next_training(runner):
    runner.measure("eighth", NAMES)
    assert states(runner) == {"a", "b", "c"}
    runner.measure("quarter", ["a"])
    assert states(runner) == {"a"}


def test_resuming_keeps_the_state_of_a_candidate_that_came_back(runner):
    """`a` failed at the second rung, so `b` came back; both rungs are finished when the race runs again."""
    runner.measure("eighth", NAMES)
    runner.store.skipped["a/0/quarter"] = "the loss is nan"
    runner.measure("quarter", ["a"])
    runner.measure("quarter", ["a", "b"])
    runner.measure("eighth", NAMES)
    runner.measure("quarter", ["a"])
    assert "b" in states(runner)


def test_a_race_that_stops_before_training_writes_and_deletes_nothing(runner):
    runner.measure("eighth", NAMES)
    runner.stop = True
    before = runner.plan_path.stat().st_mtime_ns
    with pytest.raises(StoppedError):
        runner.measure("quarter", ["a"])
    assert states(runner) == {"a", "b", "c"}
    assert runner.plan_path.stat().st_mtime_ns == before


def test_only_markers_of_own_candidates_are_forgotten_and_taken_for_a_kill(runner, monkeypatch):
    others, own = runner.states / "another" / MARKER, runner.state_folder("b", 0) / MARKER
    for marker in (others, own):
        marker.parent.mkdir(parents=True)
        marker.write_text("1 0 0 -", encoding="ascii")
    runner.begin()
    assert others.is_file()
    assert not own.exists()
    launches = []

    def crash(stage, jobs, **settings):
        launches.append(len(jobs))
        raise OSError("the launcher is gone")

    monkeypatch.setattr(module, "launch", crash)
    with pytest.raises(InputError, match="the launcher is gone"):
        runner.measure("eighth", NAMES)
    assert launches == [3]  # nothing of this race was killed, so nothing is tried again


def test_candidates_that_ran_beside_one_that_kills_its_process_are_not_blamed(runner, monkeypatch):
    """The kernel kills `b` whenever it trains, and with it all jobs that run beside it."""
    launches, kills = [], Counter()

    def launch(stage, jobs, **settings):
        names = [job.keys[0].partition("/")[0] for job in jobs]
        launches.append("".join(names))
        for job, name in zip(jobs, names, strict=True):
            marker = runner.state_folder(name, 0) / MARKER
            marker.parent.mkdir(parents=True, exist_ok=True)
            if kills[name] >= KILLS:
                runner.store.skipped[job.keys[0]] = "the process was killed"
            elif "b" in names:
                kills[name] += 1
                marker.write_text(f"{kills[name]} 0 0 -", encoding="ascii")
                continue
            marker.unlink(missing_ok=True)
            runner.store.finish(job.keys[0])
        if any((runner.state_folder(name, 0) / MARKER).is_file() for name in names):
            raise OSError("a worker was killed")
        return []

    monkeypatch.setattr(module, "launch", launch)
    measured = runner.measure("eighth", NAMES)
    assert launches == ["abc", "a", "b", "b", "c"]
    assert measured.failed == {"b": "the process was killed"}
    assert set(measured.dice) == {"a", "c"}


def test_the_progress_of_an_earlier_race_is_forgotten_when_a_race_begins(runner):
    runner.folder.mkdir(parents=True)
    runner.board.path.write_text("{}\n", encoding="utf-8")
    runner.begin()
    assert not runner.board.path.exists()


def test_a_second_race_in_a_folder_is_refused_in_one_line(tmp_path):
    folder = tmp_path / "race" / "mine"
    with only_race(folder):
        pass
    with (
        FileLock(folder / "race.lock"),
        pytest.raises(InputError, match="another race for mine is running in"),
        only_race(folder),
    ):
        pass
    with only_race(folder):
        assert folder.is_dir()


def test_a_candidate_that_changes_between_two_rungs_ends_the_race_before_more_is_trained(runner, monkeypatch):
    runner.begin()
    runner.measure("eighth", NAMES)
    monkeypatch.setattr(Keys, "state_key", lambda plan, name, *, seed, data: f"{name}-{seed}-changed")
    with pytest.raises(InputError, match="a has changed since the race began"):
        runner.measure("quarter", ["a"])
    assert states(runner) == {"a", "b", "c"}


def test_a_race_is_registered_once_under_its_lock_by_any_name(runner, tmp_path):
    registered = []

    class Registry(Memory):
        locked = False

        def run(self, stage, key, name, **settings):
            self.finish(key)
            draft = SimpleNamespace(describe=lambda text: None, log=lambda metrics: None)
            return nullcontext(draft)

        @contextmanager
        def claim(self, key):
            self.locked = True
            yield self.find(key)
            self.locked = False

        def nest(self, parent, runs):
            pass

        def register(self, name, folder, *, run):
            assert self.locked
            registered.append(name)
            return 1

        def tag(self, run, name, value):
            assert self.locked
            assert validate_param_and_metric_name(name)
            self.rows[run].tags[name] = value

    runner.store = Registry()
    race = Race(list(NAMES), RUNGS, budget=0.45)
    race.run(runner.measure)
    for _ in range(2):
        assert runner.record([], race, register="é(x) it's") == "registered: models:/é(x) it's/1"
    assert registered == ["é(x) it's"]


def test_the_run_of_a_race_has_the_steps_of_all_seeds(runner, tmp_path):
    logged = {}

    class Draft:
        def describe(self, text):
            pass

        def log(self, metrics):
            logged.update(metrics)

        def file(self, path):
            pass

    class Recording(Memory):
        def run(self, stage, key, name, **settings):
            self.finish(key)
            return nullcontext(Draft())

        def claim(self, key):
            return nullcontext()

        def nest(self, parent, runs):
            self.nested = runs

    runner.store, runner.seeds = Recording(), (0, 1)
    race = Race(list(NAMES), RUNGS, budget=0.45)
    race.run(runner.measure)
    assert runner.record([], race) == ""
    assert logged["steps"] == 2 * race.spent
    assert logged["share_of_steps"] == race.spent / race.total
