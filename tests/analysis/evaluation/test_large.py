"""Pools of many sources: one pass over the pairs equals the plain way, and the linearised draws are near it."""

import numpy as np
import pytest

from analysis.agreement.measure_table import KENDALL, MEASURES, PRIMARY, WEIGHTED_KENDALL
from analysis.evaluation import untied
from analysis.evaluation.large import leave_one_out, linearised
from analysis.evaluation.permuted import moved, permuted_measures
from analysis.evaluation.prepared_truth import Yardstick
from analysis.evaluation.ranked import Ranked
from analysis.evaluation.untied import pair_measures

SINGLE = 1e-6  # sums of weights are taken in float32
SPREAD = 0.05  # relative, of a standard deviation from 2,000 draws; its own error is 1.6%
SKEWED = 0.15  # the same for what leans on the few best sources

SMOOTH = [measure for measure in MEASURES if measure.name not in {"rel_1", "rel_3", "top1_regret"}]
by_name = pytest.mark.parametrize("measure", SMOOTH, ids=lambda measure: measure.name)


def pool(n, *, ties=False, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=n)
    y = 0.5 + 0.05 * (x + generator.normal(size=n))
    return (np.round(2 * x), np.round(y, 2)) if ties else (x, y)


@by_name
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [5, 9, 40])
def test_leaving_one_out_is_the_plain_jackknife(measure, n, ties):
    x, y = pool(n, ties=ties, seed=n)
    plain = measure.of_resamples(x, y, 1 - np.eye(n, dtype=np.int64))
    np.testing.assert_allclose(leave_one_out(Ranked(x), Ranked(y))[measure.name], plain, atol=SINGLE)


def test_without_ties_one_matrix_says_it_all():
    x, y = pool(30)
    found, plain = pair_measures(x, y), leave_one_out(Ranked(x), Ranked(y))
    tied = leave_one_out(Ranked(np.append(x, x[0])), Ranked(np.append(y, y[0])))
    assert set(found) <= set(plain)
    # Without the copy, last, the pool with ties is the pool.
    assert tied["weighted_kendall"][-1] == pytest.approx(WEIGHTED_KENDALL.of_pool(x, y), abs=SINGLE)


@pytest.mark.parametrize("n", [3, 10, 200])
def test_the_fast_taus_are_scipys(n):
    x, y = pool(n, seed=n)
    assert untied.kendall(x, y) == pytest.approx(KENDALL.of_pool(x, y))
    assert untied.weighted_kendall(x, y) == pytest.approx(WEIGHTED_KENDALL.of_pool(x, y))


@by_name
def test_linearised_resamples_spread_as_resamples_do(measure):
    x, y = pool(150)
    counts = np.random.default_rng(1).multinomial(150, np.full(150, 1 / 150), size=2000)
    plain = measure.of_resamples(x, y, counts)
    value = {one.name: one.of_pool(x, y) for one in SMOOTH}
    found = linearised(value, leave_one_out(Ranked(x), Ranked(y)), counts - 1.0)[measure.name]
    near = SKEWED if measure.name in {"weighted_kendall", "ndcg"} else SPREAD
    assert found.std() == pytest.approx(plain.std(), rel=near)
    assert np.corrcoef(found, plain)[0, 1] > 0.85


@pytest.mark.parametrize("measure", PRIMARY, ids=lambda measure: measure.name)
@pytest.mark.parametrize("ties", [False, True])
def test_the_projected_null_is_the_null(measure, ties):
    x, y = pool(150, ties=ties)
    generator = np.random.default_rng(2)
    permutations = generator.permuted(np.tile(np.arange(150), (1000, 1)), axis=1)
    plain = measure.of_rows(x, y[permutations])
    found = permuted_measures(Ranked(x), moved(Ranked(y), permutations))[measure.name]
    assert np.corrcoef(found, plain)[0, 1] > 0.97
    assert found.std() == pytest.approx(plain.std(), rel=SPREAD)
    assert found.mean() == pytest.approx(plain.mean(), abs=0.02)


def test_the_best_are_enough_for_what_looks_at_the_best():
    x, y = pool(300)
    counts = np.random.default_rng(3).multinomial(300, np.full(300, 1 / 300), size=200)
    for measure in MEASURES:
        if measure not in SMOOTH:
            np.testing.assert_array_equal(measure.of_top(x, y, counts), measure.of_resamples(x, y, counts))


def test_both_ways_agree_where_they_meet(monkeypatch):
    from analysis.agreement import measure_table as measures
    from analysis.agreement.source_bootstrap import draw
    from analysis.evaluation import prepared_truth as yardstick

    x, y = pool(90)
    names = tuple(f"{place:02d}" for place in range(90))
    draws = draw([*names, "elsewhere"], resamples=1000, generator=np.random.default_rng(4))
    plain = Yardstick(names, y, draws, {}).agreement(x)
    for module in (measures, yardstick):
        monkeypatch.setattr(module, "LARGE_POOL", 50)
    large = Yardstick(names, y, draws, {}).agreement(x)
    assert large.value == pytest.approx(plain.value)
    for measure in PRIMARY:
        np.testing.assert_allclose(large.jackknife[measure.name], plain.jackknife[measure.name], atol=SINGLE)
        ends = [np.quantile(one.resampled[measure.name], [0.025, 0.975]) for one in (large, plain)]
        np.testing.assert_allclose(*ends, atol=0.06)
        assert large.null[measure.name].std() == pytest.approx(plain.null[measure.name].std(), rel=SPREAD)
