"""Full or read-only disks, a corrupt cache, a job that takes too long: one line, nothing lost, and a later run ends."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark.errors import InputError
from benchmark.jobs.cli import CONF
from benchmark.tracking import Store
from tests.command_fixtures import BENCH, Place
from tests.end_to_end.engines.servers import PATIENCE

PAIR = ["source=scratch", "target=synthetic_ball", "experiment=synthetic", "seeds=[7]"]


@pytest.fixture
def small_disk(tmp_path):
    """Makes a file system of a few megabytes in memory: `small_disk("name", megabytes)`."""
    if os.geteuid() != 0:
        pytest.skip("needs root, which mounts a small file system")
    mounted = []

    def make(name, megabytes):
        folder = tmp_path / name
        folder.mkdir()
        _mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder))
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def _mount(*arguments):
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"mounting a small file system is not allowed here: {done.stderr.strip()}")


def seeds(place):
    rows = place.store().finished("truth").values()
    return sorted(row.params["seed"] for row in rows if row.params["source"] == "scratch")


def check_told(done):
    assert done.code == 2, done.out + done.err
    lines = done.err.splitlines()
    assert [line.startswith("error: ") for line in lines].count(True) == 1
    assert lines[-1].startswith("error: ")
    assert "Traceback" not in done.err


def test_a_full_disk_for_outputs(again, command_line, small_disk):
    before = seeds(again)
    disk = small_disk("outputs_full", 1)
    (disk / "ballast").write_bytes(bytes(1_000_000))
    done = command_line("truth", *PAIR, *again.overrides, f"output_dir={disk}", "hydra.run.dir=/tmp")
    check_told(done)
    assert "No space left" in done.err or "(0 MB free)" in done.err
    assert seeds(again) == before
    (disk / "ballast").unlink()
    _mount("-o", "remount,size=64m", str(disk))
    done = command_line("truth", *PAIR, *again.overrides, f"output_dir={disk}", "hydra.run.dir=/tmp")
    assert done.code == 0, done.err
    assert seeds(again) == sorted([*before, "7"])


def test_a_full_disk_for_the_store(again, command_line, small_disk):
    """The result waits in the outbox; the next run of the job delivers it and trains nothing."""
    disk = small_disk("store_full", 8)
    shutil.copy(again.folder / "mlflow.db", disk / "mlflow.db")
    place = Place(again.folder)
    uri = f"tracking.uri=sqlite:///{disk / 'mlflow.db'}"
    free = shutil.disk_usage(disk).free
    (disk / "ballast").write_bytes(bytes(free))
    done = command_line("truth", *PAIR, *place.overrides, uri, "tracking.patience=1")
    check_told(done)
    waiting = [path.name for path in (again.folder / "outputs" / "outbox").glob("[!.]*")]
    (disk / "ballast").unlink()
    done = command_line("truth", *PAIR, *place.overrides, uri)
    assert done.code == 0, done.err
    store = Store(f"sqlite:///{disk / 'mlflow.db'}", "ccfv-bench/synthetic", str(again.folder / "mlartifacts"))
    rows = [row for row in store.finished("truth").values() if row.params["seed"] == "7"]
    assert len(rows) == 1
    assert not waiting or rows[0].key in waiting
    assert list((again.folder / "outputs" / "outbox").iterdir()) == []


def test_a_read_only_artifact_folder(again, command_line, small_disk):
    disk = small_disk("artifacts", 64)
    store = Store(again.uri, "ccfv-bench/elsewhere", str(disk))
    store.prepare()
    _mount("-o", "remount,ro", str(disk))
    outbox = again.folder / "outbox"
    with pytest.raises(InputError, match=r"cannot reach or write the tracking store .*Read-only"):
        _finish(Store(again.uri, "ccfv-bench/elsewhere", str(disk), outbox=str(outbox)))
    assert [path.name for path in outbox.glob("[!.]*")] == ["a"]
    _mount("-o", "remount,rw", str(disk))
    later = Store(again.uri, "ccfv-bench/elsewhere", str(disk), outbox=str(outbox))
    with later.claim("a") as finished:
        assert finished is not None
        assert finished.metrics["dice"] == 0.5


def _finish(store):
    with store.run("truth", "a", "a", params={}, config={}, suite="s") as draft:
        draft.log(metrics={"dice": 0.5})


def test_a_corrupt_copy_of_a_source_is_fetched_again(again, command_line):
    for path in Path(again.folder / "outputs" / "sources").glob("*/weights.safetensors"):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    done = command_line("truth", *PAIR, *again.overrides)
    assert done.code == 0, done.err
    assert "7" in seeds(again)


def test_a_job_that_takes_too_long_fails_and_the_others_go_on(again, command_line):
    done = command_line("bench", "experiment=synthetic", "suite.seeds=[0,1,9]", "time_limit=0.00001", "until=truth",
                        "hydra/launcher=basic", *again.overrides)  # fmt: skip
    assert done.code == 2, "every job that ran failed by a setting"
    assert "job exceeded time_limit (" in done.err
    assert "10 jobs failed" in done.out  # 8 of the study, and 2 of a source that is pre-trained again


def test_fail_fast_begins_no_further_job_and_retry_runs_those_that_failed(again, command_line):
    given = ["experiment=synthetic", "suite.seeds=[0,1,9]", "until=truth", "hydra/launcher=basic", *again.overrides]
    done = command_line("bench", *given, "time_limit=0.00001", "--fail-fast")
    assert done.code != 0
    assert done.out.count("not started because another job failed") == 9
    done = command_line("bench", *given, "--retry", "failed")
    assert done.code == 0, done.out + done.err
    assert "truth: 10 jobs run" in done.out
    assert seeds(again).count("9") == 2
    done = command_line("bench", *given, "--retry", "failed")
    assert done.code == 2
    assert "retry=failed: no failed jobs are listed in" in done.err


@pytest.mark.joblib
def test_ctrl_c_stops_cleanly(again):
    """As a terminal sends it, to the bench and its workers alike: one line, what is finished stays."""
    command = [sys.executable, "-m", "benchmark.bench", *BENCH, "suite.seeds=[0,1,9]",
               "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *again.overrides]  # fmt: skip
    settings = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(CONF.parent)}
    benches = again.folder / "outputs" / "bench"
    before = set(benches.glob("2*/progress.jsonl"))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               cwd=again.folder, env=settings, start_new_session=True,
                               preexec_fn=_with_interrupts)  # fmt: skip  # noqa: PLW1509
    _wait_for_one(process, benches, before)
    os.killpg(process.pid, signal.SIGINT)
    printed, _ = process.communicate(timeout=100)
    assert process.returncode == 130, printed
    assert "Traceback" not in printed
    told = "".join(re.findall(r"interrupted: (\d+) of 10 runs are finished and kept; run again to resume", printed))
    assert told, printed
    assert 1 <= int(told) < 10
    finished = sum(row.params["seed"] == "9" for row in again.store().finished("truth").values())
    assert int(told) <= finished <= int(told) + 2  # each worker may have stopped between a result and telling it


def _with_interrupts():
    """Handle SIGINT as a program of a terminal does; a child inherits it ignored from a process that ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _wait_for_one(process, folder, before):
    """Wait until a run of the last start is finished; each worker first reports two that were finished before."""
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        texts = [path.read_text(encoding="utf-8") for path in set(folder.glob("2*/progress.jsonl")) - before]
        if any(text.count('"finished"') >= 5 for text in texts):
            return
        time.sleep(0.05)


def test_a_dry_run_tells_and_does_nothing(again, command_line):
    before = {row.key for row in again.store().finished().values()}
    done = command_line("bench", "experiment=synthetic", "suite.seeds=[0,1,9]", "workers=4", "--dry-run",
                        *again.overrides)  # fmt: skip
    assert done.code == 0, done.err
    assert done.out.count("truth source=") == 10
    assert "left on 4 workers" in done.out
    assert "nothing was run" in done.out
    assert {row.key for row in again.store().finished().values()} == before
