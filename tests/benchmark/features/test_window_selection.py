"""Foreground windows only: fewer windows, the same foreground, background from what was forwarded."""

from dataclasses import replace

import pytest
import torch
from monai.networks.nets import DynUNet

from baselines import leep_score
from baselines.leep import LEEP
from benchmark.ccfv import CCFV
from benchmark.core.labels import IGNORED
from benchmark.errors import InputError
from benchmark.features import reduce_stream
from benchmark.features.window_selection import Covered, check_windows, choose
from benchmark.features.windows import Grid
from benchmark.statistics import (
    BalancedPointsRequest,
    CasePointsRequest,
    ClassMomentsRequest,
    JointRequest,
    ScenePointsRequest,
    SoftmaxRequest,
    Statistics,
)

PATCH, TAPS = (8, 8, 8), ("upsamples.0", "upsamples.1")
MOMENTS, JOINT, SOFTMAX = ClassMomentsRequest(), JointRequest(), SoftmaxRequest()
BALANCED, POINTS, SCENES = BalancedPointsRequest(count=90), CasePointsRequest(counts=(10, 20)), ScenePointsRequest(50)
METRIC = CCFV(counts=(10, 20), scene_count=50)


@pytest.fixture(scope="module")
def corner_cases(make_case):
    """Cases whose foreground lies in one corner, one foreground voxel left at the far end of the first case."""
    cases = []
    for seed in range(3):
        case = make_case(seed=seed, shape=(20, 18, 22))
        labels = case.labels.clone()
        labels[12:] = 0
        labels[:, 12:] = 0
        cases.append(replace(case, labels=labels))
    cases[0].labels[19, 17, 21] = 1
    return cases


@pytest.fixture(scope="module")
def streams(corner_cases, tmp_path_factory):
    """The statistics of both policies, one window a forward pass so that no batch differs."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = DynUNet(
            3, 1, 3, kernel_size=[3, 3, 3], strides=[1, 2, 2], upsample_kernel_size=[2, 2], filters=[4, 8, 12]
        )

    def run(policy):
        requests = [MOMENTS, JOINT, SOFTMAX, BALANCED, POINTS, SCENES, *METRIC.requires]
        folder = tmp_path_factory.mktemp(policy)
        return reduce_stream(
            network, TAPS, corner_cases, requests, patch_size=PATCH, classes=3, windows=policy, folder=folder
        )

    return {policy: run(policy) for policy in ("all", "foreground")}


def test_fewer_windows_are_forwarded_and_counted(streams, corner_cases):
    every, some = (streams[policy].windows for policy in ("all", "foreground"))
    owners = [
        place
        for case in corner_cases
        for place in Grid(tuple(case.labels.shape), PATCH, 0.25).places
        if case.labels[tuple(slice(a, a + n) for a, n in zip(place.start, place.shape, strict=True))].any()
    ]
    assert every.count == every.total == some.total
    assert some.count == len(owners) < some.total


def test_the_foreground_is_exactly_that_of_all_windows(streams):
    every, some = streams["all"], streams["foreground"]
    for name in ("count", "mean", "scatter", "quartics"):
        a, b = (getattr(statistics[MOMENTS], name)[1:] for statistics in (every, some))
        assert torch.equal(a, b), name
    assert torch.equal(every[JOINT].soft[1:], some[JOINT].soft[1:])
    for layer in (-1, -2):
        pairs = zip(every[POINTS].classes(layer), some[POINTS].classes(layer), strict=True)
        for a, b in ((one[label], two[label]) for one, two in pairs for label in (1, 2)):
            assert torch.equal(a, b)
    for a, b in ((statistics[BALANCED].labels > 0 for statistics in (every, some)),):
        assert torch.equal(every[BALANCED].features[a], some[BALANCED].features[b])


def test_the_parts_of_ccfv_that_read_foreground_points_are_the_same(streams):
    every, some = (METRIC.compute(streams[policy]) for policy in ("all", "foreground"))
    same = [part for part in every.parts if "consistency" in part]
    assert same
    assert all(every.parts[part] == some.parts[part] for part in same)
    assert every.value != some.value  # the variety reads points of the whole case, and of the forwarded windows


def test_the_background_comes_from_the_forwarded_windows(streams, corner_cases):
    every, some = streams["all"], streams["foreground"]
    seen = [
        Covered(choose(Grid(case.shape, PATCH, 0.25).places, case.labels, "foreground"), case.shape)[
            tuple(slice(0, side) for side in case.shape)
        ]
        for case in corner_cases
    ]
    expected = sum(int((case.labels[where] == 0).sum()) for case, where in zip(corner_cases, seen, strict=True))
    assert int(some[MOMENTS].count[0]) == expected < int(every[MOMENTS].count[0])
    table = some[BALANCED].table
    assert all(bool(seen[case][tuple(at)]) for case, at in zip(table.cases, table.positions, strict=True))
    assert all(len(rows) == 50 for rows in some[SCENES].scenes(-1))


def test_leep_reads_only_what_was_forwarded(streams, tmp_path):
    some = streams["foreground"]
    blocks = list(some[SOFTMAX].rows())
    softmax, labels = torch.cat([b.softmax for b in blocks]), torch.cat([b.labels for b in blocks])
    assert torch.bincount(labels).tolist() == some[MOMENTS].count.tolist()
    score = LEEP().compute(some).value
    assert score == pytest.approx(leep_score(softmax, labels), abs=1e-3)  # the softmax on disk is half precision
    some.save(tmp_path / "saved")
    again = Statistics.load(tmp_path / "saved")
    assert again.windows == some.windows
    assert LEEP().compute(again).value == score


def test_a_case_without_foreground_is_forwarded_whole():
    places = Grid((10, 10, 10), PATCH, 0.25).places
    assert choose(places, torch.zeros(10, 10, 10), "foreground") == places


def test_ignored_voxels_are_no_foreground():
    labels = torch.tensor([IGNORED, IGNORED, 0, 0, 1, 0], dtype=torch.uint8)
    chosen = choose(Grid((6,), (2,), 0.0).places, labels, "foreground")
    assert [place.start for place in chosen] == [(4,)]


def test_an_unknown_policy_is_named():
    with pytest.raises(InputError, match="`windows` must be one of all, foreground, got 'points'"):
        choose(Grid((4, 4, 4), (4, 4, 4)).places, torch.zeros(4, 4, 4), "points")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("window", [8, 8]), ("window", [0, 8, 8]), ("overlap", 1.0), ("batch", 0), ("windows", "some")],
)
def test_settings_that_suit_no_case_are_refused(setting, value):
    settings = {"window": [8, 8, 8], "overlap": 0.25, "batch": 2, "windows": "all"}
    check_windows(**settings)
    with pytest.raises(InputError, match=rf"^stream\.{setting} must be "):
        check_windows(**settings | {setting: value})
