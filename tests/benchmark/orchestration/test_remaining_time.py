"""The remaining time follows the speed that a stage's own jobs report, or that of earlier stages."""

import math

import pytest

from benchmark.orchestration.remaining_time import RemainingTime, readable


def begun(now=0.0, parallel=1):
    remaining = RemainingTime(parallel=parallel)
    remaining.expect("pretrain", {"p1": 50.0, "p2": 50.0})
    remaining.expect("truth", {f"t{index}": 100.0 for index in range(10)})
    remaining.begin("pretrain", now)
    return remaining


def test_nothing_is_estimated_before_a_tenth_of_the_first_stage_is_reported():
    remaining = begun()
    assert math.isnan(remaining.seconds({}, 20.0))
    assert math.isnan(remaining.seconds({"p1": 0.18}, 20.0))
    assert remaining.seconds({"p1": 0.2}, 20.0) == pytest.approx(2.0 * (90.0 + 1000.0))


def test_the_next_stage_takes_the_speed_of_the_former_until_a_tenth_of_its_own_work_is_reported():
    remaining = begun()
    shares = {"p1": 1.0, "p2": 1.0}
    remaining.end("pretrain", 50.0)  # two seconds of work in one second
    remaining.begin("truth", 50.0)
    assert remaining.seconds(shares, 55.0) == pytest.approx(500.0)
    assert remaining.seconds({**shares, "t0": 0.9}, 200.0) == pytest.approx(910.0 / 2.0)
    assert remaining.seconds({**shares, "t0": 1.0}, 250.0) == pytest.approx(900.0 / 0.5)


def test_a_finished_stage_leaves_nothing_even_if_its_jobs_failed():
    remaining = begun()
    remaining.end("pretrain", 100.0)
    remaining.begin("truth", 100.0)
    assert remaining.seconds({"p1": 1.0, **{f"t{index}": 1.0 for index in range(10)}}, 600.0) == 0.0


def test_a_stage_of_one_job_cannot_use_all_workers():
    remaining = begun(parallel=2)
    remaining.expect("correlate", {"correlate": 30.0})
    shares = {"p1": 1.0, "p2": 1.0} | {f"t{index}": 1.0 for index in range(10)}
    remaining.end("pretrain", 50.0)
    remaining.begin("truth", 50.0)
    remaining.end("truth", 550.0)  # two seconds of work in one second, with two workers
    assert remaining.seconds(shares, 550.0) == pytest.approx(30.0)


def test_a_stage_without_unfinished_runs_takes_no_time():
    remaining = RemainingTime()
    remaining.expect("prepare", {})  # as in a bench that is resumed
    remaining.expect("pretrain", {"a": 10.0, "b": 10.0})
    remaining.begin("pretrain", 0.0)
    assert remaining.seconds({"a": 1.0}, 10.0) == pytest.approx(10.0)


def test_nothing_is_estimated_before_the_later_stages_are_planned():
    remaining = begun()
    remaining.planned = False
    assert math.isnan(remaining.seconds({"p1": 1.0}, 20.0))
    remaining.planned = True
    assert remaining.seconds({"p1": 1.0}, 20.0) == pytest.approx((50.0 + 1000.0) / 2.5)


def test_readable():
    assert readable(math.nan) == "estimating the remaining time"
    assert readable(100.4) == "about 1 min 40 s left"
    assert readable(0.0) == "about 0 min 00 s left"
