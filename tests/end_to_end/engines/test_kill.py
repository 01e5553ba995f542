"""A sweep that is killed again and again loses nothing, does nothing twice, and ends with the undisturbed figures."""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter

import pytest
from mlflow import MlflowClient

from benchmark.jobs.cli import CONF
from benchmark.tracking import Store
from tests.end_to_end.engines.conftest import METRICS, SMALL
from tests.end_to_end.engines.servers import PATIENCE, MlflowServer, Postgres, kill_tree
from tests.end_to_end.engines.test_launchers import JOBS, differences
from tests.end_to_end.test_commands import figures

KILLS, WITH_SERVERS = 3, {2}
LONGEST = 1.0  # seconds of work between two kills, beyond the start-up
START = 8.0  # seconds within which every third kill falls, whatever the sweep is at
SWEEP = (*SMALL, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")

pytestmark = [pytest.mark.kill, pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(1500)]


class Sweep:
    """The sweep, its servers, and what each attempt saw."""

    def __init__(self, place):
        self.place = place
        self.postgres = Postgres().make()
        self.server = MlflowServer(self.postgres.uri, place.folder / "artifacts").start()
        self.known: dict[str, str] = {}  # key -> its finished run, as seen before any attempt
        self.repeated: list[str] = []
        self.seen = self._folders()

    @property
    def store(self):
        return Store(self.server.uri, "ccfv-bench/synthetic", outbox=str(self.place.folder / "outputs" / "outbox"))

    def start(self):
        tracking = [f"tracking.uri={self.server.uri}", f"tracking.locks={self.postgres.uri}"]
        command = [sys.executable, "-m", "benchmark.bench", *SWEEP, *self.place.overrides, *tracking]
        settings = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(CONF.parent)}
        with (self.place.folder / "sweep.log").open("ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.place.folder, env=settings, start_new_session=True
            )

    def wait_for_work(self, process):
        """Until the attempt reports a job's progress, or ends."""
        before = self._reported()
        end = time.monotonic() + PATIENCE
        while process.poll() is None and self._reported() == before and time.monotonic() < end:
            time.sleep(0.05)

    def _reported(self):
        return sum(path.stat().st_size for path in (self.place.folder / "outputs").glob("bench/*/progress.jsonl"))

    @staticmethod
    def let_run(process, seconds):
        until = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)

    def kill(self, process, *, servers):
        victims = [process.pid]
        if servers:
            victims += [self.server.process.pid, self.postgres.process.pid]
        for pid in victims:
            kill_tree(pid)
        if servers:
            self.postgres.kill()
            self.server.kill()
            self.postgres.start()
            self.server.start()

    def look(self, names_before):
        """Which finished jobs the last attempt worked on all the same; one that died early left no folder."""
        for folder in self._folders() - self.seen:
            path = folder / "progress.jsonl"
            lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
            entries = [json.loads(line) for line in lines if line.endswith("}")]
            self.repeated += sorted({str(entry["job"]) for entry in entries if "job" in entry} & names_before)
        self.seen = self._folders()

    def _folders(self):
        return set((self.place.folder / "outputs" / "bench").glob("2*"))

    def remember(self):
        """The finished runs; one that was finished before is still the same."""
        rows = self.store.finished()
        for key, run in self.known.items():
            assert rows[key].run == run, f"{rows[key].name} was finished twice"
        self.known = {key: row.run for key, row in rows.items()}
        return {row.name for row in rows.values() if row.stage == "truth"}

    def stop(self):
        self.server.kill()
        self.postgres.remove()


@pytest.fixture
def sweep(study):
    held = Sweep(study)
    yield held
    held.stop()


def left_over(folder):
    """Temporary files and folders below a place."""
    names = [path for path in folder.rglob("*") if path.name.startswith(".") or path.suffix in {".part", ".gone"}]
    known = {".submitit", ".hydra", ".uses", ".trimmed"}
    return [path for path in names if path.name not in known and not path.name.endswith(".lock")]


def test_a_sweep_that_is_killed_again_and_again(sweep, bench):
    draw = random.Random(KILLS)
    kills = 0
    while kills < KILLS:
        names = sweep.remember()
        process = sweep.start()
        begun = kills % 3 < 2
        if begun:
            sweep.wait_for_work(process)
        sweep.let_run(process, draw.uniform(0.0, LONGEST if begun else START))
        if process.poll() is not None:
            break  # it was faster than the kills; the count below tells
        kills += 1
        sweep.kill(process, servers=kills in WITH_SERVERS)
        process.wait()
        sweep.look(names)
    names = sweep.remember()
    last = sweep.start()
    assert last.wait() == 0, (sweep.place.folder / "sweep.log").read_text(encoding="utf-8")[-4000:]
    sweep.look(names)
    verdict = judge(sweep, bench[0], kills)
    place = CONF.parent / "outputs"
    place.mkdir(exist_ok=True)
    (place / "kill.json").write_text(json.dumps(verdict, indent=1), encoding="utf-8")
    assert verdict == {
        "kills": KILLS, "jobs": sum(JOBS.values()), "finished": sum(JOBS.values()), "duplicates": 0, "lost": 0,
        "repeated": [], "left_over": [], "differences": [],
    }  # fmt: skip


def judge(sweep, whole, kills):
    client = MlflowClient(sweep.server.uri)
    experiment = client.get_experiment_by_name("ccfv-bench/synthetic").experiment_id
    runs = client.search_runs([experiment], "attributes.status = 'FINISHED'", max_results=5000)
    counted = Counter(run.data.tags["job_key"] for run in runs if run.data.tags["stage"] in JOBS)
    return {
        "kills": kills,
        "jobs": sum(JOBS.values()),
        "finished": len(counted),
        "duplicates": sum(count - 1 for count in counted.values()),
        "lost": sum(JOBS.values()) - len(counted),
        "repeated": sweep.repeated,
        "left_over": [str(path) for name in ("outputs", "data") for path in left_over(sweep.place.folder / name)],
        "differences": differences(figures(sweep.place, METRICS, client=client), whole),
    }
