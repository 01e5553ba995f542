"""Seconds and bytes by hand, and the largest choice that fits into some minutes."""

from dataclasses import replace

import pytest

from benchmark.data.prepared.preparing import SMALL
from benchmark.ranking.case_choice import CaseChoice
from benchmark.ranking.expected_size import ExpectedCase
from benchmark.ranking.forecast import (
    STEPS,
    ExpectedPreparation,
    Forecast,
    ResampleNumbers,
    SourceForecast,
    fitting_choice,
    smaller_choices,
)
from benchmark.ranking.window_timing import WindowTiming

NAMES = ("a", "b", "c", "d")
ALL = CaseChoice("all", NAMES)
TIMING = WindowTiming(
    forward=1.0, voxel=0.0, volume=0.0, scores=2.0, softmax=0.0, draw=0.0, point_draw=0.0, peak_memory_mb=700.0
)
CASES = {
    "all": dict.fromkeys(NAMES, ExpectedCase(voxels=1000, windows=10, owned=1000)),
    "foreground": dict.fromkeys(NAMES, ExpectedCase(voxels=1000, windows=3, owned=300)),
}
NOTHING = {policy: frozenset() for policy in CASES}
SOURCE = SourceForecast(TIMING, opening=0.5, passes=1, stored=4, cases=CASES, finished=NOTHING, unprepared={})
SECONDS = 0.5 + 40 + 2 + STEPS


def forecast(**sources):
    return Forecast(sources, 0, {}, lambda m: ResampleNumbers(m, 10 * m), keep_gib=20)


def test_a_source_by_hand():
    assert forecast(a=SOURCE).seconds(ALL) == SECONDS
    assert forecast(a=SOURCE, b=SOURCE).seconds(ALL) == 2 * SECONDS
    assert forecast(a=replace(SOURCE, passes=2)).seconds(ALL) == SECONDS + 40
    timing = replace(TIMING, voxel=1e-2, volume=1e-3, softmax=1e-1, draw=0.25, point_draw=0.5)
    foreground = ALL.smaller(windows="foreground", number=2)
    passes = 2 * (3 + 300 * 1e-2 + 1000 * 1e-3)
    scores = 2 + 0.1 * 600 + 2 * (20 * 0.25 + 2 * 0.5)
    expected = 0.5 + passes + scores + STEPS
    assert forecast(a=replace(SOURCE, timing=timing)).seconds(foreground) == pytest.approx(expected)


def test_cases_on_disk_cost_no_pass():
    kept = replace(SOURCE, finished={"all": frozenset(NAMES[:3]), "foreground": frozenset()})
    assert forecast(a=kept).seconds(ALL) == SECONDS - 30
    assert forecast(a=kept).kept_bytes(ALL) == 2 * 4 * 1000
    assert forecast(a=replace(kept, passes=2)).seconds(ALL) == SECONDS - 30 + 40  # the second pass is over all cases
    assert forecast().seconds(ALL) == 0
    assert fitting_choice(forecast(), ALL, seconds=-1) == ALL


def test_a_case_is_prepared_once_for_all_sources_that_see_it_alike():
    own = {name: ExpectedPreparation(f"key {name}", 100) for name in NAMES[2:]}
    source = replace(SOURCE, unprepared=own, preparing=0.1)
    assert forecast(a=source, b=source).seconds(ALL) == 2 * SECONDS + 20
    assert forecast(a=source, b=source).prepared_bytes(ALL) == 200
    each = replace(source, stores=False)
    assert forecast(a=each, b=each).seconds(ALL) == 2 * SECONDS + 40
    other = replace(source, unprepared={"c": ExpectedPreparation("another key", 100)}, preparing=None)
    assert forecast(a=source, b=other).seconds(ALL) == 2 * SECONDS + 30
    large = replace(source, unprepared={name: replace(case, nbytes=SMALL) for name, case in own.items()}, preparing=1.0)
    one, two = (replace(forecast(a=large), processes=count).seconds(ALL) - SECONDS for count in (1, 2))
    assert one == 2 * SMALL
    assert SMALL < two < one


def test_stored_softmax_is_limited_except_for_the_source_that_is_passed():
    pool = forecast(a=SOURCE, b=SOURCE, c=SOURCE)
    assert pool.kept_bytes(ALL) == 3 * 2 * 4 * 4000
    assert replace(pool, keep_gib=0).kept_bytes(ALL) == 2 * 4 * 4000


def test_minutes_leave_out_windows_first_and_then_cases():
    pool = forecast(a=SOURCE)
    choices = smaller_choices(ALL)
    assert [(choice.windows, len(choice.chosen)) for choice in choices] == [
        ("all", 4), ("foreground", 4), ("foreground", 3), ("foreground", 2)
    ]  # fmt: skip
    needed = [pool.seconds(choice) for choice in choices]
    assert needed == sorted(needed, reverse=True)
    for choice, seconds in zip(choices, needed, strict=True):
        assert fitting_choice(pool, ALL, seconds=seconds) == choice
    assert fitting_choice(pool, ALL, seconds=needed[-1] - 1) == choices[-1]  # CC-FV needs two cases


def test_what_the_user_chose_is_not_exceeded():
    most = ALL.smaller(windows="foreground", number=3)
    assert smaller_choices(most)[0] == most
    assert fitting_choice(forecast(a=SOURCE), most, seconds=1e9) == most
    assert smaller_choices(ALL.smaller(windows="all", number=1))[-1].chosen == ("a",)
