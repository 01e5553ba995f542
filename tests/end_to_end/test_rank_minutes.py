"""`rank` with a part of the cases and windows: chosen by the user or by minutes, said, written and repeated."""

import errno
import json
import shlex
from functools import partial

import pandas as pd
import pytest

from benchmark.ranking import case_passes as passes
from benchmark.ranking import source_timing
from benchmark.ranking.case_passes import reduce_stream
from tests.checkpoints import small_network, write_weights

SMALL = ["metric=[ccfv,logme,knn]", "draws=20", "draws_of_points=2", "metric.knn.count=200",
         "stream.window=[16,16,16]"]  # fmt: skip


@pytest.fixture(scope="module")
def ball(prepared):
    return prepared / "synthetic" / "synthetic_ball"


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    for seed in range(3):
        write_weights(small_network("DynUNet", seed=seed), folder / f"net_{seed}.pt")
    return folder


@pytest.fixture
def rank(command_line, ball, pool, tmp_path, monkeypatch):
    """Ranks three sources for four cases, and reads what was written."""
    monkeypatch.setenv("COLUMNS", "400")

    def run(*overrides, into=tmp_path, source=pool):
        given = [f"task={ball}", f"source={source}", f"output_dir={into}/outputs", *SMALL]
        done = command_line("rank", *given, f"tracking.uri=sqlite:///{into}/mlflow.db", *overrides)
        folder = into / "outputs" / "rank" / "synthetic_ball"
        if done.code:
            return done, None, None
        content = json.loads((folder / "ranking.json").read_text(encoding="utf-8"))
        return done, content, pd.read_csv(folder / "ranking.csv", index_col="source")

    return run


def scores(table):
    return table.sort_index()[["ccfv", "logme", "knn", "standing", "place"]]


def test_some_cases_and_windows_are_named_and_more_cost_only_the_new_ones(rank, tmp_path, monkeypatch):
    names = []
    monkeypatch.setattr(passes, "reduce_stream", lambda network, taps, cases, *rest, **named: (
        names.append(cases[0].name) or reduce_stream(network, taps, cases, *rest, **named)
    ))  # fmt: skip
    done, content, _ = rank("stream.cases=2", "stream.windows=foreground")
    assert done.code == 0, done.err
    assert len(names) == 3 * 2
    assert len(content["scored_cases"]) == content["cases"] == 2
    assert not set(content["scored_cases"]) & set(content["left_out_cases"])
    assert len(content["left_out_cases"]) == 2
    page = (tmp_path / "outputs/rank/synthetic_ball/ranking.html").read_text(encoding="utf-8")
    for name in content["left_out_cases"]:
        assert name in page
        assert name in done.out
    assert "2 of 4 cases are scored, most classes first, then most foreground voxels" in page
    assert "only windows with foreground are forwarded" in page
    forwarded = content["notes"]["net_0"][-1].split()
    assert 2 <= int(forwarded[0]) < int(forwarded[2]) == 16  # of eight windows a case
    assert content["settled"]["left_out"] == ["ccfv"]  # of one case
    names.clear()
    done, content, _ = rank("stream.cases=3", "stream.windows=foreground")
    assert names == [content["scored_cases"][2]] * 3
    names.clear()
    rank("stream.cases=3")  # with all windows, which are statistics of their own
    assert len(names) == 3 * 3
    assert "the scores of 3 sources are kept and cost nothing" in rank("stream.cases=3")[0].out


def test_minutes_that_are_too_few_leave_two_cases_and_are_repeated(rank, tmp_path):
    done, content, table = rank("minutes=0.001")
    assert done.code == 0, done.err
    assert "minutes=0.001 is too short: the smallest choice is scored, which takes longer" in done.out
    assert "minutes=0.001 gives stream.windows=foreground stream.cases=2" in done.out
    assert (content["minutes"], content["windows"], content["cases"]) == (0.001, "foreground", 2)
    assert "minutes=" not in content["command"]
    assert content["forecast"]["timed"] == ["net_0", "net_1", "net_2"]
    page = (tmp_path / "outputs/rank/synthetic_ball/ranking.html").read_text(encoding="utf-8")
    assert (
        "minutes=0.001 gave stream.windows=foreground stream.cases=2; the same again: python -m benchmark.rank" in page
    )
    settings = [
        part for part in shlex.split(content["command"]) if part.startswith("stream.") and "window=" not in part
    ]
    again = rank(*settings, into=tmp_path / "again")
    pd.testing.assert_frame_equal(scores(again[2]), scores(table))
    assert again[1]["scored_cases"] == content["scored_cases"]


def test_minutes_that_suffice_leave_nothing_out(rank):
    _, content, _ = rank("minutes=600", "stream.cases=3")
    assert (content["windows"], content["cases"], len(content["left_out_cases"])) == ("all", 3, 1)
    done, content, _ = rank("minutes=600", "stream.cases=3")  # all scores are on disk
    assert content["forecast"]["timed"] == []
    assert "minutes=600 gives stream.windows=all stream.cases=3" in done.out
    assert content["settled"]["reason"] == ""
    assert -1 <= content["settled"]["with_all"] <= 1


def test_other_metrics_are_expected_to_need_the_passes_again(rank, pool):
    one = partial(rank, source=pool / "net_0.pt")
    one("metric=[knn]")
    assert one("metric=[knn,leep]")[1]["forecast"]["statistics_bytes"] > 0  # of the softmax that is not stored yet
    assert one("metric=[leep,knn]", "draws=7")[1]["forecast"]["statistics_bytes"] == 0


def test_a_full_disk_is_no_fault_of_a_source(rank, monkeypatch):
    def fails(*given, **named):
        raise OSError(errno.ENOSPC, "No space left on device", "somewhere")

    monkeypatch.setattr(source_timing, "time_window", fails)
    done = rank()[0]
    assert done.code == 2
    assert done.err.splitlines()[-1].startswith("error: cannot write somewhere: No space left on device")


def test_ctrl_c_ends_it_in_one_line(rank, monkeypatch):
    def interrupts(*given, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(source_timing, "time_window", interrupts)
    done = rank()[0]
    assert done.code == 130
    assert done.err.splitlines()[-1] == "interrupted: what is finished is kept, run again to resume"
    assert "Traceback" not in done.err


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("minutes=0", "minutes must be a positive number or null, got 0"),
        ("minutes=[1]", "minutes must be a positive number or null, got [1]"),
        ("minutes=inf", "minutes must be a positive number or null, got inf"),
        ("minutes=soon", "minutes must be a positive number or null, got soon"),
        ("stream.cases=0", "stream.cases must be a whole number of at least 1 or null, got 0"),
        ("stream.windows=some", "stream.windows must be one of all, foreground, got some"),
    ],
)
def test_bad_settings_are_named_in_one_line(rank, override, line):
    done = rank(override)[0]
    assert done.code == 2
    assert done.err.splitlines()[-1] == f"error: {line}"
