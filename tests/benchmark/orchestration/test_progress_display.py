"""The board reads what jobs report while they write it, and shows it in one live line or in plain ones."""

import io
import threading
import time

import pytest
from rich.console import Console

from benchmark.jobs.progress import Reporter
from benchmark.orchestration import progress_display as live
from benchmark.orchestration.progress_display import Board, remaining, watch


def test_a_board_waits_for_the_rest_of_a_line(tmp_path):
    board = Board(tmp_path / "progress.jsonl", work={"a": 1.0, "b": 3.0})
    board.read()  # no file yet
    assert board.share() == 0.0
    with board.path.open("a", encoding="utf-8") as stream:
        stream.write('{"finished": "a"}\n{"fini')
        stream.flush()
        board.read()
        assert board.finished == {"a"}
        assert board.share() == 0.25
        stream.write('shed": "b"}\n{"job": "naïve", "done": 3, "total": 7}\n')
    board.read()
    assert board.finished == {"a", "b"}
    assert board.share() == 1.0
    assert board.current == {"job": "naïve", "done": 3, "total": 7}


def test_jobs_that_are_not_of_this_bench_do_not_count(tmp_path):
    board = Board(tmp_path / "progress.jsonl", work={"a": 1.0})
    board.path.write_text('{"finished": "other"}\n', encoding="utf-8")
    board.read()
    assert board.share() == 0.0


def test_no_work_is_no_share(tmp_path):
    assert Board(tmp_path / "none").share() == 0.0


def test_remaining_time():
    assert remaining(0.0, 100.0) == "remaining time not known yet"
    assert remaining(0.5, 100.0) == "about 1 min 40 s left"
    assert remaining(1.0, 100.0) == "about 0 min 00 s left"


def _console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=120)


def test_plain_lines_where_the_output_is_no_terminal(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "PLAIN_EVERY", 0.05)
    board = Board(tmp_path / "progress.jsonl", console=_console(terminal=False), work={"a": 1.0, "b": 1.0})
    reporter = Reporter(board.path, "job", 1)
    with watch(board, "truth", {"a", "b"}):
        reporter.finish("a")
        time.sleep(0.2)
        reporter.finish("b")
    lines = board.console.file.getvalue().splitlines()
    assert lines[0].startswith("truth: ")
    assert any(line.startswith("truth: 1 of 2 runs done, about ") for line in lines)
    assert lines[-1] == "truth: 2 of 2 runs done, about 0 min 00 s left"
    assert not any("\x1b" in line for line in lines)


def test_one_live_line_and_the_job_s_own_below_it(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "REFRESH", 0.05)
    board = Board(tmp_path / "progress.jsonl", console=_console(terminal=True), work={"a": 1.0, "b": 1.0})
    reporter = Reporter(board.path, "liver_long to spleen, seed 3", 60)
    with watch(board, "truth", {"a", "b"}):
        reporter.step(30)
        reporter.finish("a")
    shown = board.console.file.getvalue()
    assert "truth" in shown
    assert "1/2" in shown
    assert "liver_long to spleen, seed 3" in shown
    assert "30/60" in shown
    assert "left" in shown


def test_the_watch_ends_when_the_stage_fails(tmp_path):
    board = Board(tmp_path / "progress.jsonl", console=_console(terminal=False))
    before = threading.active_count()

    def stage():
        with watch(board, "truth", set()):
            raise RuntimeError("stage")

    with pytest.raises(RuntimeError, match="stage"):
        stage()
    assert threading.active_count() == before
