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
from requests.exceptions import RequestException

from benchmark.errors import InputError
from benchmark.tracking import Store
from benchmark.tracking.artifacts import fetch_artifact
from benchmark.tracking.outbox import Draft
from tests.checkpoints import write_file

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


# --- registered models ---


@pytest.fixture
def checkpoint(tmp_path):
    return write_file(tmp_path / "winner")


def test_a_registered_folder_is_opened_by_its_address(place, checkpoint, command_line, tmp_path):
    store = place.store()
    run = _run(store, "a")
    assert store.register("liver 'best'", checkpoint, run=run) == 1
    assert store.register("liver 'best'", checkpoint, run=run) == 2, "a version more"
    path = checkpoint / "source.json"
    path.write_text(path.read_text().replace('"name": "winner"', '"name": "other"'), encoding="utf-8")
    assert store.register("liver 'best'", checkpoint, run=_run(store, "b")) == 3
    assert store.register("liver 'best'", checkpoint, run=run) == 4
    versions = {int(v.version): v for v in store.client.search_model_versions(f"run_id = '{run}'")}
    assert sorted(versions) == [1, 2, 4]
    for version, name in ((1, "winner"), (2, "winner"), (4, "other")):
        found = fetch_artifact(f"models:/liver 'best'/{version}", tmp_path / f"v{version}", uri=store.uri)
        assert json.loads((found / "source.json").read_text(encoding="utf-8"))["name"] == name
    assert store.register("liver", checkpoint, run=run) == 1
    done = command_line("inspect", "path=models:/liver/1", f"output_dir={tmp_path}/outputs", *place.overrides)
    assert done.code == 0, done.err
    assert "dynunet, 3D" in done.out
    assert "models:/liver/1" in done.out


@pytest.mark.parametrize(
    ("name", "message"), [("a/b", "Names cannot contain '/' or ':'"), ("", "Missing value"), ("a:b", "Names cannot")]
)
def test_a_name_that_mlflow_does_not_take_is_one_line(name, message, place, checkpoint):
    store = place.store()
    run = _run(store, "a")
    with pytest.raises(InputError, match=rf"^cannot register \S+winner as {name} in sqlite:\S+: .*{message}") as error:
        store.register(name, checkpoint, run=run)
    assert "\n" not in str(error.value)
    assert not store.client.list_artifacts(run, "registered")


def test_what_cannot_be_registered_is_one_line(place, checkpoint, tmp_path):
    store = place.store()
    with pytest.raises(InputError, match=r"^cannot register \S+nowhere as liver in \S+: there is no such folder$"):
        store.register("liver", tmp_path / "nowhere", run="0123")
    with pytest.raises(InputError, match=r"^cannot register \S+winner as liver in sqlite:\S+: .*0123"):
        store.register("liver", checkpoint, run="0123")
    away = replace(store, uri="http://127.0.0.1:9", patience=0.1)
    with pytest.raises(InputError, match=r"^cannot register \S+winner as liver in http://127\.0\.0\.1:9: "):
        away.register("liver", checkpoint, run="0123")


def test_a_registration_that_is_tried_again_makes_one_version(place, checkpoint, monkeypatch):
    store = place.store()
    run, create, answers = _run(store, "a"), store.client.create_model_version, []

    def lost(*arguments, **settings):
        answers.append(create(*arguments, **settings))
        raise RequestException("no answer")

    monkeypatch.setattr(store.client, "create_model_version", lost)
    assert store.register("liver", checkpoint, run=run) == 1
    assert len(answers) == 1
