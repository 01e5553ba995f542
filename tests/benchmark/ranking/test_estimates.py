"""Estimates and their resamples: merged statistics are one pass, a resample is the pass over the cases it holds."""

import math
from functools import partial, reduce

import numpy as np
import pytest

from benchmark.metric.score import Score
from benchmark.ranking import estimates as module
from benchmark.ranking.case_bootstrap import ResampledCases
from benchmark.ranking.estimates import Estimate, SourceOutcome, combined
from benchmark.statistics import BalancedPointsRequest, CasePointsRequest, ClassMomentsRequest

# Sums in another order, in float64
ROUNDING = 1e-9
LEAVE_ONE_OUT = 1 - np.eye(6, dtype=np.int64)


def again(doing, error):
    raise error


estimate = partial(module.estimate, failed=again)


@pytest.fixture(scope="module")
def estimates(by_case, rank_metrics):
    return estimate(rank_metrics, by_case, LEAVE_ONE_OUT, point_draws=6)


# not ccfv_released: its sum over pairs grows with their number, so resamples are scaled to one number of pairs
@pytest.mark.parametrize("name", ["ccfv", "logme", "gbc", "h_score", "leep", "knn", "ncti", "topote"])
def test_leaving_a_case_out_is_the_score_of_the_rest(name, estimates, by_case, rank_metrics):
    metric = rank_metrics[name]
    for left in range(6):
        rest = reduce(lambda a, b: a.merge(b), [case for place, case in enumerate(by_case) if place != left])
        own = metric.compute(rest).value
        assert estimates[name].draws[left] == pytest.approx(own, abs=ROUNDING, rel=1e-6)


def test_the_order_of_cases_does_not_matter(estimates, by_case, rank_metrics):
    turned = estimate(rank_metrics, by_case[::-1], LEAVE_ONE_OUT[:0], point_draws=6)
    for name, one in estimates.items():
        assert turned[name].value == pytest.approx(one.value, abs=ROUNDING, rel=1e-9), name


def test_points_of_a_resample_are_no_point_twice(by_case):
    request = BalancedPointsRequest(count=90)
    counts = np.array([3, 0, 2, 1, 0, 0])
    table = ResampledCases(by_case, [request]).statistics(counts)[request].table
    places = {(int(case), *map(int, position)) for case, position in zip(table.cases, table.positions, strict=True)}
    assert len(places) == len(table.labels)
    assert set(table.cases.tolist()) <= {0, 2, 3}
    assert np.bincount(table.labels).max() <= 30


def test_a_case_drawn_more_often_gives_more_points(by_case):
    request = BalancedPointsRequest(count=90)
    cases = ResampledCases(by_case, [request])
    once = np.ones(6, dtype=np.int64)
    often = once + 8 * np.eye(6, dtype=np.int64)[2]
    shares = [float((cases.statistics(counts)[request].table.cases == 2).float().mean()) for counts in (once, often)]
    assert shares[1] > 2 * shares[0]  # 9 of 14 instead of 1 of 6, where the class has voxels enough


def test_points_of_all_cases_are_those_of_one_pass(by_case):
    request = BalancedPointsRequest(count=90)
    whole = reduce(lambda a, b: a.merge(b), by_case)[request]
    points = ResampledCases(by_case, [request]).statistics(np.ones(6, dtype=np.int64))[request]
    assert points.labels.tolist() == whole.labels.tolist()
    assert np.array_equal(points.features, whole.features)


def test_a_moment_counts_as_often_as_its_case_was_drawn(by_case):
    request = ClassMomentsRequest()
    counts = np.array([2, 0, 0, 1, 0, 3])
    moments = ResampledCases(by_case, [request]).statistics(counts)[request]
    expected = sum(count * case[request].count for case, count in zip(by_case, counts, strict=True))
    assert moments.count.tolist() == expected.tolist()


def test_points_of_each_case_have_no_resample_of_this_kind(by_case):
    with pytest.raises(TypeError, match="must be of moments, joints, points or softmax"):
        ResampledCases(by_case, [CasePointsRequest()])


def test_metrics_of_points_get_fewer_resamples(by_case, rank_metrics):
    chosen = {name: rank_metrics[name] for name in ("knn", "gbc")}
    results = estimate(chosen, by_case, LEAVE_ONE_OUT, point_draws=2)
    assert (len(results["knn"].draws), len(results["gbc"].draws)) == (2, 6)


def test_an_undefined_score_has_no_resamples(by_case):
    class Undefined:
        name = "undefined"
        requires = (ClassMomentsRequest(),)

        def compute(self, statistics):
            return Score(math.nan, reason="never defined")

    undefined = estimate({"undefined": Undefined()}, by_case, LEAVE_ONE_OUT, point_draws=6)["undefined"]
    assert math.isnan(undefined.value)
    assert undefined.reason == "never defined"
    assert not undefined.draws


class Fails:
    """A metric that fails for some number of cases."""

    name = "fails"
    requires = (ClassMomentsRequest(),)

    def __init__(self, *cases):
        self.cases = cases

    def compute(self, statistics):
        if len(statistics.cases) in self.cases:
            raise ZeroDivisionError("by nothing")
        return Score(1.0)


def test_a_metric_that_fails_is_nan_or_has_no_resamples_for_a_reason(by_case, rank_metrics):
    errors = []
    metrics = {"whole": Fails(6), "part": Fails(5), "gbc": rank_metrics["gbc"]}
    reasons = estimate(
        metrics, by_case, LEAVE_ONE_OUT, point_draws=6,
        failed=lambda doing, error: errors.append(error) or f"{type(error).__name__} {doing}",
    )  # fmt: skip
    assert math.isnan(reasons["whole"].value)
    assert reasons["whole"].reason == "ZeroDivisionError in whole"
    assert (reasons["part"].value, len(reasons["part"].draws)) == (1.0, 0)
    assert reasons["part"].no_draws == "ZeroDivisionError in the resamples of part"
    assert (len(reasons["gbc"].draws), reasons["gbc"].no_draws) == (6, "")
    assert len(errors) == 2


def test_a_metric_that_resamples_itself_and_fails_has_none_for_a_reason(by_case):
    class Own(Fails):
        def resampled(self, statistics, counts):
            raise MemoryError

    results = estimate({"own": Own()}, by_case, LEAVE_ONE_OUT, point_draws=6, failed=lambda doing, error: doing)
    assert (results["own"].value, results["own"].no_draws) == (1.0, "in the resamples of own")


@pytest.mark.parametrize("cases", [5, 6])
def test_an_exception_that_stops_the_command_is_raised(by_case, cases):
    with pytest.raises(ZeroDivisionError):
        estimate({"fails": Fails(cases)}, by_case, LEAVE_ONE_OUT, point_draws=6)


def test_a_source_without_resamples_takes_none_from_the_others(by_case, rank_metrics):
    whole = estimate({"ncti": rank_metrics["ncti"]}, by_case, LEAVE_ONE_OUT, point_draws=6)["ncti"]
    without = Estimate(whole.value, "", 0.0, {part: value - 1 for part, value in whole.parts.items()},
                       no_draws="for a reason")  # fmt: skip
    final = combined(rank_metrics["ncti"], {"a": whole, "b": without})
    assert (len(final["a"].draws), len(final["b"].draws)) == (6, 0)
    assert (final["a"].value, final["b"].value) == (1.0, 0.0)
    assert final["b"].no_draws == "for a reason"


def test_a_pool_is_combined_in_every_resample(by_case, rank_metrics):
    whole = estimate({"ncti": rank_metrics["ncti"]}, by_case, LEAVE_ONE_OUT, point_draws=6)["ncti"]
    worse = Estimate(
        whole.value, "", 0.0, {part: value - 1 for part, value in whole.parts.items()}, whole.draws,
        {part: [value - 1 for value in row] for part, row in whole.drawn_parts.items()},
    )  # fmt: skip
    final = combined(rank_metrics["ncti"], {"a": whole, "b": worse})
    # min-max over two sources: all elements of the better one are 1, and of the other 0; vc counts against a source
    assert (final["a"].value, final["b"].value) == (1.0, 0.0)
    assert list(final["a"].draws) == [1.0] * 6


def test_an_outcome_is_read_as_it_was_written(tmp_path, estimates):
    outcome = SourceOutcome("a", estimates, facts={"window": [8, 8, 8]}, notes=("as it is",))
    outcome.save(tmp_path / "deep" / "outcome.json")
    loaded = SourceOutcome.load(tmp_path / "deep" / "outcome.json")
    assert loaded.estimates["knn"].draws == list(estimates["knn"].draws)
    assert loaded.estimates["ccfv"].value == estimates["ccfv"].value
    assert (loaded.facts["window"], list(loaded.notes)) == ([8, 8, 8], ["as it is"])
