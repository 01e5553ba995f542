"""The store: runs end as what happened, finished jobs are found, and many processes may open a new one at once."""

import json
import math
import multiprocessing
import sqlite3
import time
from dataclasses import replace

import alembic.command
import pytest
import sqlalchemy
from alembic.script import ScriptDirectory
from mlflow import MlflowClient
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base as InitialBase

from benchmark.errors import InputError
from benchmark.tracking import Store
from benchmark.tracking.outbox import Draft

PROCESSES = 8


@pytest.fixture
def store(place):
    return place.store()


def _run(store, key, *, stage="truth", params=None, metrics=None, tags=None):
    time.sleep(0.002)  # runs are ordered by their start in milliseconds
    with store.run(stage, key, f"run {key}", params=params or {}, config={"lr": 0.1}, suite="synthetic") as run:
        run.log(metrics=metrics, tags=tags)
    return run.run_id


def _statuses(store):
    client = MlflowClient(store.uri)
    experiment = client.get_experiment_by_name(store.experiment)
    return {run.data.tags["job_key"]: run.info.status for run in client.search_runs([experiment.experiment_id])}


def test_a_run_that_ends_is_finished_and_found(store):
    run = _run(
        store, "a", params={"seed": 3}, metrics={"dice": 0.5, "nothing": math.nan}, tags={"reason/nothing": "why"}
    )
    row = store.find("a")
    assert (row.stage, row.key, row.name, row.run) == ("truth", "a", "run a", run)
    assert row.params == {"seed": "3"}
    assert row.metrics["dice"] == 0.5
    assert math.isnan(row.metrics["nothing"])
    assert {"suite": "synthetic", "job_key": "a", "stage": "truth", "reason/nothing": "why"}.items() <= row.tags.items()
    assert {"git_commit", "git_dirty", "host"} <= set(row.tags)
    assert _statuses(store) == {"a": "FINISHED"}


def test_a_run_that_raises_is_failed_and_not_found(store):
    with pytest.raises(ZeroDivisionError), store.run("truth", "a", "a", params={}, config={}, suite="s"):
        raise ZeroDivisionError("by zero")
    assert store.find("a") is None
    assert store.finished() == {}
    assert _statuses(store) == {"a": "FAILED"}
    client = MlflowClient(store.uri)
    run = client.search_runs([client.get_experiment_by_name(store.experiment).experiment_id])[0]
    assert run.data.tags["error"] == "ZeroDivisionError: by zero"


def test_a_run_that_is_interrupted_is_killed(store):
    with pytest.raises(KeyboardInterrupt), store.run("truth", "a", "a", params={}, config={}, suite="s"):
        raise KeyboardInterrupt
    assert _statuses(store) == {"a": "KILLED"}
    assert store.find("a") is None


def test_a_run_that_was_left_open_does_not_count_and_its_draft_goes(store, place):
    entered = store.run("truth", "a", "a", params={}, config={}, suite="s")
    entered.__enter__()
    assert store.find("a") is None
    assert "a" not in store.finished("truth")
    _run(store, "a")
    assert _statuses(store) == {"a": "FINISHED"}
    assert list((place.folder / "mlartifacts" / ".outbox").iterdir()) == []


def test_the_newest_of_several_finished_runs_counts(store):
    client = MlflowClient(store.uri)
    for value in (0.1, 0.2, 0.3):  # as an older version left them; ours writes no second one
        time.sleep(0.002)
        run = client.create_run(store.prepare(), tags={"job_key": "a", "stage": "truth"}).info.run_id
        client.log_metric(run, "dice", value)
        client.set_terminated(run)
    assert store.find("a").metrics["dice"] == 0.3
    assert store.finished()["a"].metrics["dice"] == 0.3
    assert _run(store, "a", metrics={"dice": 0.4}) == run
    assert store.find("a").metrics["dice"] == 0.3


def test_finished_jobs_by_stage(store):
    _run(store, "a", stage="truth")
    _run(store, "b", stage="score", tags={"pass_key": "p"})
    assert set(store.finished()) == {"a", "b"}
    assert set(store.finished("score")) == {"b"}
    assert store.finished("prepare") == {}
    assert store.find("p", tag="pass_key").key == "b"
    assert store.find("q", tag="pass_key") is None


def test_more_runs_than_a_page_are_all_found(store, monkeypatch):
    monkeypatch.setattr("benchmark.tracking.store.PAGE", 3)
    for index in range(7):
        _run(store, f"key{index}")
    assert set(store.finished()) == {f"key{index}" for index in range(7)}


def test_suites_are_kept_apart(store, place):
    _run(store, "a")
    assert place.store("other").find("a") is None


def test_curves_have_a_value_a_step_from_step_one(store):
    """MLflow takes 1,000 metrics a request."""
    with store.run("truth", "a", "a", params={}, config={}, suite="s") as run:
        run.curve("loss", [1.0 / step for step in range(1, 1102)])
        run.curve("empty", [])
    history = MlflowClient(store.uri).get_metric_history(run.run_id, "loss")
    points = sorted((point.step, point.value) for point in history)
    assert points == [(step, 1.0 / step) for step in range(1, 1102)]


def test_artifacts_come_back(store, tmp_path):
    (tmp_path / "whole" / "inner").mkdir(parents=True)
    (tmp_path / "whole" / "inner" / "b.txt").write_text("b", encoding="utf-8")
    with store.run("truth", "a", "a", params={}, config={"width": 8}, suite="s") as run:
        run.text("naïve", "notes/a.txt")
        run.json({"case": {"liver": 0.5}}, "dice.json")
        run.file(tmp_path / "whole", "kept")
    place = tmp_path / "down"
    assert store.download(run.run_id, "notes/a.txt", place).read_text(encoding="utf-8") == "naïve"
    assert json.loads(store.download(run.run_id, "dice.json", place).read_text()) == {"case": {"liver": 0.5}}
    assert (store.download(run.run_id, "kept", place) / "inner" / "b.txt").read_text() == "b"
    job = json.loads(store.download(run.run_id, "job.json", place).read_text())
    assert job["config"] == {"width": 8}
    assert {"python", "packages", "cores", "command"} <= set(job["environment"])


@pytest.mark.bad_input
def test_a_store_that_does_not_open_is_told_in_one_line(tmp_path):
    (tmp_path / "mlflow.db").write_text("no database, and longer than a database's header is" * 10)
    with pytest.raises(InputError, match=r"cannot open the tracking store sqlite:.*mlflow\.db: "):
        Store(f"sqlite:///{tmp_path / 'mlflow.db'}", "x", str(tmp_path)).prepare()


@pytest.mark.bad_input
def test_an_unknown_kind_of_store_is_told_in_one_line(tmp_path):
    with pytest.raises(InputError, match=r"cannot open the tracking store nonsense://here: "):
        Store("nonsense://here", "x", str(tmp_path)).prepare()


@pytest.mark.bad_input
def test_a_deleted_experiment_is_told(store):
    client = MlflowClient(store.uri)
    client.delete_experiment(store.prepare())
    with pytest.raises(InputError, match=r"experiment ccfv-bench/synthetic of sqlite:.* is deleted"):
        Store(store.uri, store.experiment, store.artifacts).prepare()


@pytest.mark.slow
def test_an_old_store_is_upgraded(tmp_path):
    """A store as MLflow left it one revision of its schema ago."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    config = _get_alembic_config(uri)
    history = ScriptDirectory.from_config(config)
    newest = history.get_current_head()
    engine = sqlalchemy.create_engine(uri)
    InitialBase.metadata.create_all(engine)
    alembic.command.upgrade(config, history.get_revision(newest).down_revision)
    engine.dispose()
    store = Store(uri, "ccfv-bench/synthetic", str(tmp_path))
    _run(store, "a", metrics={"dice": 0.5})
    assert store.find("a").metrics["dice"] == 0.5
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("select version_num from alembic_version").fetchone() == (newest,)


@pytest.mark.bad_input
def test_a_store_of_a_newer_mlflow_is_told(place):
    with sqlite3.connect(place.folder / "mlflow.db") as database:
        database.execute("update alembic_version set version_num = 'fedcba987654'")
    with pytest.raises(InputError, match=r"cannot open the tracking store .*fedcba987654"):
        place.store().prepare()


def _open(uri, folder, number):
    store = Store(uri, "ccfv-bench/synthetic", folder)
    with store.run("truth", f"key{number}", "a", params={"seed": number}, config={}, suite="s") as run:
        run.log(metrics={"dice": number / 10})


@pytest.mark.slow
def test_many_processes_open_a_new_store_at_once(tmp_path):
    """No store, no experiment: each makes both if nobody was faster, and writes its run."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_open, args=(uri, str(tmp_path / "art"), number)) for number in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    rows = Store(uri, "ccfv-bench/synthetic", str(tmp_path / "art")).finished()
    assert {key: row.metrics["dice"] for key, row in rows.items()} == {f"key{n}": n / 10 for n in range(PROCESSES)}


@pytest.mark.bad_input
def test_a_server_that_does_not_answer_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(InputError, match=r"cannot reach or write the tracking store http://127\.0\.0\.1:9 \(.*\): "):
        Store("http://127.0.0.1:9", "x", str(tmp_path), patience=0.5).prepare()


def _waits(store, key):
    """A finished result that its job could not deliver any more."""
    draft = Draft.begin(store._outbox, key, experiment=store.experiment, name=key, tags={"job_key": key, "stage": "s"})
    draft.seal("FINISHED")


def _deliver(store, start):
    start.wait()
    store.deliver()


def test_two_benches_that_start_at_once_deliver_what_waits_once(store):
    store.prepare()
    for index in range(6):
        _waits(store, f"key{index}")
    fork = multiprocessing.get_context("fork")
    start = fork.Event()
    processes = [fork.Process(target=_deliver, args=(replace(store), start)) for _ in range(3)]
    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    runs = MlflowClient(store.uri).search_runs([store.prepare()])
    assert sorted(run.data.tags["job_key"] for run in runs) == [f"key{index}" for index in range(6)]


def test_what_waits_for_another_experiment_is_left_to_it(store, place):
    other = place.store("other")
    _waits(other, "a")
    assert store.deliver() == 0
    assert store.find("a") is None
    assert other.deliver() == 1
    assert other.find("a") is not None
