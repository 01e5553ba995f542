"""Reports of progress: jobs append short lines to one file."""

import json
import multiprocessing

from benchmark.jobs.progress import Reporter


def _lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_reporter_tells_the_first_and_the_last_step_and_not_every_one(tmp_path):
    path = tmp_path / "progress.jsonl"
    reporter = Reporter(path, "job", 1000)
    for step in range(1, 1001):
        reporter.step(step, 0.5)
    reporter.finish("key")
    told = _lines(path)
    assert told[-1]["finished"] == "key"
    assert told[0] | {"pid": 0} == {"job": "job", "pid": 0, "done": 1, "total": 1000}
    assert told[-2]["done"] == 1000
    assert len(told) < 100


def test_without_a_file_nothing_is_written(tmp_path):
    reporter = Reporter(None, "job", 2)
    reporter.step(1)
    reporter.finish("key")
    assert list(tmp_path.iterdir()) == []


def _report(path, name):
    reporter = Reporter(path, name, 50)
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
    told = _lines(path)
    assert len(told) == 200
    for index in range(4):
        assert [entry["done"] for entry in told if entry["job"] == f"job {index}"] == list(range(50))
