"""The board reads what jobs report while they write it, and shows it in one live line or in plain ones."""

import io
import math
import threading
import time

import pandas as pd
import pytest
from rich.console import Console

from benchmark.jobs.progress import Reporter
from benchmark.orchestration import progress_display as live
from benchmark.orchestration.progress_display import Board, watch


def board_of(path, *, console=None, **work):
    board = Board(path) if console is None else Board(path, console=console)
    board.remaining.expect("truth", work)
    return board


def test_a_board_waits_for_the_rest_of_a_line(tmp_path):
    board = board_of(tmp_path / "progress.jsonl", a=1.0, b=3.0)
    board.read()  # no file yet
    assert board.shares == {}
    with board.path.open("a", encoding="utf-8") as stream:
        stream.write('{"finished": "a"}\n{"fini')
        stream.flush()
        board.read()
        assert board.finished == {"a"}
        stream.write('shed": "b"}\n{"job": "naïve", "key": "c", "done": 3, "total": 4}\n')
    board.read()
    assert board.finished == {"a", "b"}
    assert board.shares == {"a": 1.0, "b": 1.0, "c": 0.75}
    assert board.current["job"] == "naïve"


def test_steps_of_a_running_job_shorten_the_remaining_time(tmp_path, monkeypatch):
    board = board_of(tmp_path / "progress.jsonl", a=10.0, b=10.0)
    monkeypatch.setattr(board, "elapsed", lambda: 10.0)
    board.remaining.begin("truth", 0.0)
    reporter = Reporter(board.path, "job", "a", 10)
    board.read()
    assert board.left() == "estimating the remaining time"
    reporter.step(10)
    board.read()
    assert board.finished == set()
    assert board.left() == "about 0 min 10 s left"


def test_the_bench_says_how_far_off_the_remaining_time_was(tmp_path, monkeypatch):
    board = board_of(tmp_path / "progress.jsonl", a=10.0)
    monkeypatch.setattr(board, "elapsed", lambda: 100.0)
    assert board.write_shown() is None
    board.shown = [(10.0, math.nan), (19.0, 500.0), (40.0, 60.0), (50.0, 60.0), (90.0, 8.0)]
    assert board.write_shown() == "remaining time shown from 20% of the time on: off by 20% in the median, 20% at most"
    rows = pd.read_csv(tmp_path / "remaining_time.csv")
    assert list(rows["took"]) == [90.0, 81.0, 60.0, 50.0, 10.0]
    assert list(rows["shown"])[1:] == [500.0, 60.0, 60.0, 8.0]


def _console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=120)


def test_plain_lines_where_the_output_is_no_terminal(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "PLAIN_EVERY", 0.05)
    board = board_of(tmp_path / "progress.jsonl", console=_console(terminal=False), a=1.0, b=1.0)
    with watch(board, "truth", {"a", "b"}):
        Reporter(board.path, "job", "a", 1).finish()
        time.sleep(0.2)
        Reporter(board.path, "job", "b", 1).finish()
    lines = board.console.file.getvalue().splitlines()
    assert lines[0].startswith("truth: ")
    assert any(line.startswith("truth: 1 of 2 runs done, about ") for line in lines)
    assert lines[-1] == "truth: 2 of 2 runs done, about 0 min 00 s left"
    assert not any("\x1b" in line for line in lines)


def test_one_live_line_and_the_job_s_own_below_it(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "REFRESH", 0.05)
    board = board_of(tmp_path / "progress.jsonl", console=_console(terminal=True), a=1.0, b=1.0)
    with watch(board, "truth", {"a", "b"}):
        Reporter(board.path, "liver_unet to spleen, seed 3", "b", 60).step(30)
        Reporter(board.path, "liver_unet to spleen, seed 2", "a", 60).finish()
    shown = board.console.file.getvalue()
    assert "truth" in shown
    assert "1/2" in shown
    assert "liver_unet to spleen, seed 3" in shown
    assert "30/60" in shown
    assert "left" in shown


def test_the_watch_ends_when_the_stage_fails(tmp_path):
    board = Board(tmp_path / "progress.jsonl", console=_console(terminal=False))
    before = set(threading.enumerate())

    def stage():
        with watch(board, "truth", set()):
            raise RuntimeError("stage")

    with pytest.raises(RuntimeError, match="stage"):
        stage()
    assert set(threading.enumerate()) <= before  # others may end meanwhile
