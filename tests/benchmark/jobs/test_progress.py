"""Reports of progress: jobs append short lines to one file."""

import json
import multiprocessing

from benchmark.jobs.progress import Reporter


def _lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_reporter_tells_the_first_and_the_last_step_and_not_every_one(tmp_path):
    path = tmp_path / "progress.jsonl"
    reporter = Reporter(path, "job", "key", 1000)
    for step in range(1, 1001):
        reporter.step(step, 0.5)
    reporter.finish()
    lines = _lines(path)
    assert lines[-1]["finished"] == "key"
    assert lines[0] | {"pid": 0, "time": 0} == {
        "job": "job", "key": "key", "done": 1, "total": 1000, "pid": 0, "time": 0,
    }  # fmt: skip
    assert lines[-2]["done"] == 1000
    assert len(lines) < 100


def test_without_a_file_nothing_is_written(tmp_path):
    reporter = Reporter(None, "job", "key", 2)
    reporter.step(1)
    reporter.finish()
    assert list(tmp_path.iterdir()) == []


def _report(path, name):
    reporter = Reporter(path, name, "key", 50)
    reporter.total = 0  # every step is reported
    for step in range(50):
        reporter.step(step)


def test_lines_of_several_processes_do_not_mix(tmp_path):
    path = tmp_path / "progress.jsonl"
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_report, args=(path, f"job {index}")) for index in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    lines = _lines(path)
    assert len(lines) == 200
    for index in range(4):
        assert [entry["done"] for entry in lines if entry["job"] == f"job {index}"] == list(range(50))
