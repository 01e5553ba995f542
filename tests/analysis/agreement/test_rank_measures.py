"""The measures of agreement: bounds, ties, what is undefined, and the released values."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from analysis.agreement import rank_measures as agreement
from analysis.agreement.measure_table import MEASURES
from analysis.agreement.rank_measures import UndefinedAgreementWarning

# Golden values are stored in float64 and computed by the same formulas.
ROUNDING = 1e-9

CORRELATIONS = (agreement.pearson, agreement.kendall, agreement.weighted_kendall, agreement.spearman)
GOLDEN = {
    "pearson": agreement.pearson,
    "kendall": agreement.kendall,
    "topo_kendall_tau_b": agreement.kendall,
    "weighted_kendall": agreement.weighted_kendall,
    "weightedtau_rank_None": lambda x, y: agreement.weighted_kendall(x, y, rank=None),
    "weightedtau_rank_False": lambda x, y: agreement.weighted_kendall(x, y, rank=False),
    "weightedtau_swapped": lambda x, y: agreement.weighted_kendall(y, x),
    "spearman_scipy": agreement.spearman,
    "rel_1": lambda x, y: agreement.rel_at_k(x, y, k=1),
    "rel_3": lambda x, y: agreement.rel_at_k(x, y, k=3),
    "top1_regret": agreement.top1_regret,
}

pools = st.lists(st.tuples(st.integers(-5, 5), st.integers(1, 9)), min_size=3, max_size=9)


def arrays(pool):
    """Scores and Dice of a drawn pool in which both vary."""
    x, y = np.array(pool, dtype=float).T
    assume(np.ptp(x) > 0 and np.ptp(y) > 0)
    return x, y / 10


@pytest.mark.golden
@pytest.mark.parametrize("method", GOLDEN)
def test_equals_the_released_values(golden, method):
    compared = 0
    for file in json.loads((golden / "index.json").read_text())["files"]:
        for entry in file["entries"]:
            if entry["method"] == method and "performance" in file["input_keys"] and entry["value"] is not None:
                vectors = np.load(golden / file["file"], allow_pickle=False)
                ours = GOLDEN[method](vectors["score"], vectors["performance"])
                assert ours == pytest.approx(entry["value"], rel=entry["suggested_rtol"], abs=ROUNDING)
                compared += 1
    assert compared


@pytest.mark.parametrize("measure", CORRELATIONS)
def test_the_same_order_is_one_and_the_reverse_minus_one(measure):
    # y = a + b x with b > 0: cov = b var(x), so Pearson is 1; every pair is concordant, so each tau and rho is 1 too.
    x = np.array([3.0, 1.0, 4.0, 1.5, 9.0])
    assert measure(x, 0.1 + 0.02 * x) == pytest.approx(1)
    assert measure(-x, 0.1 + 0.02 * x) == pytest.approx(-1)


@given(pools)
def test_bounds_hold_on_any_pool(pool):
    # Each correlation is a normalised inner product (Cauchy-Schwarz); regret compares with a maximum over the same set.
    x, y = arrays(pool)
    for measure in CORRELATIONS:
        assert -1 - ROUNDING <= measure(x, y) <= 1 + ROUNDING
    assert 0 <= agreement.top1_regret(x, y) <= np.ptp(y)
    assert 0 < agreement.rel_at_k(x, y, k=1) <= agreement.rel_at_k(x, y, k=3) <= 1
    assert 0 <= agreement.ndcg(x, y) <= 1 + ROUNDING


@given(pools, st.randoms(use_true_random=False))
def test_the_order_of_the_sources_does_not_matter(pool, random):
    x, y = arrays(pool)
    order = random.sample(range(len(x)), len(x))
    for measure in MEASURES:
        assert measure.of_pool(x[order], y[order]) == pytest.approx(measure.of_pool(x, y), abs=ROUNDING)


@given(pools)
def test_rank_measures_see_only_the_order_of_the_scores(pool):
    x, y = arrays(pool)
    for measure in MEASURES[1:]:
        assert measure.of_pool(x**3 + x, y) == pytest.approx(measure.of_pool(x, y), abs=ROUNDING)


@given(pools)
def test_the_truth_as_score_is_best(pool):
    _, y = arrays(pool)
    for measure in MEASURES:
        assert measure.of_pool(y, y) == pytest.approx(0 if measure.name == "top1_regret" else 1)


def test_equal_scores_count_against_the_metric():
    scores, dice = [2.0, 2.0, 1.0], [0.8, 0.4, 0.1]
    assert agreement.rel_at_k(scores, dice, k=1) == pytest.approx(0.5)
    assert agreement.top1_regret(scores, dice) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("scores", "dice", "reason"),
    [
        ([1.0, 2.0], [0.1, 0.2], "2 sources, at least 3 are needed"),
        ([1.0, 1.0, 1.0], [0.1, 0.2, 0.3], "all scores are alike"),
        ([1.0, 2.0, 3.0], [0.2, 0.2, 0.2], "all Dice are alike"),
        ([1.0, np.nan, 3.0], [0.1, 0.2, 0.3], "the score of 1 of 3 sources is not finite"),
        ([1.0, -np.inf, 3.0], [0.1, 0.2, 0.3], "the score of 1 of 3 sources is not finite"),
        ([1.0, 2.0, 3.0], [0.1, np.nan, np.nan], "the Dice of 2 of 3 sources is not finite"),
    ],
)
@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_undefined_is_nan_with_the_reason(measure, scores, dice, reason):
    with pytest.warns(UndefinedAgreementWarning, match=reason):
        assert np.isnan(measure.of_pool(scores, dice))
    assert agreement.why_undefined(scores, dice) == reason


def test_a_defined_measure_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert agreement.kendall([1.0, 2.0, 3.0], [0.1, 0.2, 0.3]) == 1


def test_bad_arguments_are_named():
    with pytest.raises(
        ValueError, match=r"`scores` and `dice` must be vectors of the same length, got \(2,\) and \(3,\)"
    ):
        agreement.kendall([1.0, 2.0], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="`k` must be at least 1, got 0"):
        agreement.rel_at_k([1.0, 2.0, 3.0], [0.1, 0.2, 0.3], k=0)


def test_a_pool_of_dice_zero_has_no_rel():
    with pytest.warns(UndefinedAgreementWarning, match="the best Dice is 0, not positive"):
        assert np.isnan(agreement.rel_at_k([1.0, 2.0, 3.0], [-0.2, -0.1, 0.0]))
