"""A tracking server over PostgreSQL: the bench through it, many writers, and a worker that knows only its address."""

import multiprocessing
import shutil
import threading
import time
from dataclasses import replace

import pytest

from benchmark.errors import InputError
from benchmark.tracking import Store
from benchmark.tracking.locks import claimed
from tests.end_to_end.engines.servers import MlflowServer
from tests.end_to_end.engines.test_launchers import JOBS

pytestmark = [pytest.mark.postgres, pytest.mark.slow]
WRITERS, RUNS, POINTS = 16, 4, 50


@pytest.fixture(scope="module")
def served(make_place, mlflow_server, postgres, small, run_bench):
    """A place whose bench went through the server, with jobs claimed in the database."""
    place = make_place("served")
    tracking = [f"tracking.uri={mlflow_server.uri}", f"tracking.locks={postgres.uri}"]
    done = run_bench(place, *small, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *tracking)
    return place, done, tracking


def store(mlflow_server, place, experiment="ccfv-bench/synthetic", **settings):
    return Store(mlflow_server.uri, experiment, outbox=str(place.folder / "outbox"), **settings)


def test_the_bench_through_a_server(served, mlflow_server):
    place, done, _ = served
    assert done.returncode == 0, done.stdout + done.stderr
    rows = store(mlflow_server, place).finished().values()
    assert {stage: sum(row.stage == stage for row in rows) for stage in JOBS} == JOBS


def test_a_worker_takes_what_it_needs_from_artifacts(served, mlflow_server, small, run_bench):
    """Another machine: no sources, no statistics, no data; the address of the server is all that it has."""
    place, _, tracking = served
    for name in ("outputs", "data"):
        shutil.rmtree(place.folder / name)
    done = run_bench(place, *small, "hydra/launcher=basic", *tracking, "suite.seeds=[0,1,2]")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pretrain: all 2 jobs already finished" in done.stdout
    assert "truth: 2 jobs run" in done.stdout
    rows = store(mlflow_server, place).finished("truth").values()
    assert sorted(row.params["seed"] for row in rows) == sorted("012" * 2)


def _write(uri, outbox, locks, number):
    store = Store(uri, "writers", outbox, outbox=outbox, locks=locks)
    for run in range(RUNS):
        with store.claim(f"key-{number}-{run}") as finished:
            assert finished is None
            with store.run("truth", f"key-{number}-{run}", "w", params={"n": number}, config={}, suite="s") as draft:
                draft.log(metrics={"value": number + run / 10})
                draft.curve("loss", [number * step for step in range(POINTS)])


def _all_at_once(uri, outbox, locks=""):
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_write, args=(uri, str(outbox), locks, n)) for n in range(WRITERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * WRITERS


def _nothing_is_lost(store):
    rows = store.finished()
    assert {key: row.metrics["value"] for key, row in rows.items()} == {
        f"key-{n}-{run}": n + run / 10 for n in range(WRITERS) for run in range(RUNS)
    }
    for row in list(rows.values())[::7]:
        points = store.client.get_metric_history(row.run, "loss")
        assert sorted((point.step, point.value) for point in points) == [
            (step + 1, float(int(row.params["n"]) * step)) for step in range(POINTS)
        ]


def test_sixteen_writers_on_the_server(mlflow_server, postgres, tmp_path):
    _all_at_once(mlflow_server.uri, tmp_path / "outbox", postgres.uri)
    _nothing_is_lost(Store(mlflow_server.uri, "writers", outbox=str(tmp_path / "outbox")))


def test_sixteen_writers_on_the_local_store(tmp_path, empty_store):
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    _all_at_once(uri, tmp_path / "artifacts")
    _nothing_is_lost(Store(uri, "writers", str(tmp_path / "artifacts")))


def _finish_without(server, here):
    with here.run("truth", "a", "a", params={"seed": 3}, config={}, suite="s") as draft:
        draft.log(metrics={"dice": 0.5})
        server.kill()


def test_a_server_that_vanishes_costs_no_result(postgres, tmp_path):
    """It is gone when the job has finished: one line, the result waits on disk, and is delivered when it is back."""
    server = MlflowServer(postgres.uri, tmp_path / "artifacts").start()
    here = Store(server.uri, "vanished", outbox=str(tmp_path / "outbox"), patience=1.0)
    here.prepare()
    try:
        with pytest.raises(InputError, match=r"cannot reach or write the tracking store .*outbox"):
            _finish_without(server, here)
        assert [path.name for path in (tmp_path / "outbox").iterdir()] == ["a"]
        server.start()
        with replace(here).claim("a") as finished:
            assert finished is not None
            assert finished.metrics["dice"] == 0.5
            assert finished.params["seed"] == "3"
        assert list((tmp_path / "outbox").iterdir()) == []
    finally:
        server.kill()


def test_a_job_waits_for_a_server_that_is_away_for_a_while(postgres, tmp_path):
    server = MlflowServer(postgres.uri, tmp_path / "artifacts")
    starting = threading.Thread(target=server.start)
    starting.start()
    try:
        assert Store(server.uri, "waits", outbox=str(tmp_path / "outbox"), patience=120.0).finished() == {}
    finally:
        starting.join()
        server.kill()


def _hold(uri, key, events):
    with claimed(key, uri):
        events.put("held")
        time.sleep(60)


def test_a_dead_owner_s_claim_frees_itself(postgres):
    fork = multiprocessing.get_context("fork")
    events = fork.Queue()
    owner = fork.Process(target=_hold, args=(postgres.uri, "a", events))
    owner.start()
    assert events.get(timeout=30) == "held"
    owner.kill()
    owner.join()
    with claimed("a", postgres.uri):
        pass
