"""The quality of a truth: which noise it contains, what is undefined and why, and what noise alone gives."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.agreement.measure_table import PRIMARY
from analysis.agreement.source_bootstrap import draw
from analysis.evaluation.rows import reliability_row
from analysis.truth.pools import Pool, Scope
from analysis.truth.quality import MOST_RESAMPLES, Noise, expected_maximum, mean_quality, quality

NAMES = tuple("abcdefghijkl")
HEADLINE = tuple(measure.name for measure in PRIMARY)


def pool(*, n=12, s=4, m=6, spread=0.05, noise=0.02, of_cases=0.05, seed=0):
    """A pool with known cases, in which sources differ from case to case."""
    generator = np.random.default_rng(seed)
    cases = 0.6 + spread * generator.standard_normal((n, 1, 1, 1)) + of_cases * generator.standard_normal((n, 1, m, 1))
    cases = cases + noise * generator.standard_normal((n, s, m, 1))
    return Pool("liver", "last", NAMES[:n], tuple(range(s)), cases.mean(axis=(2, 3)), cases=cases)


def of(truth, *, seed=0, resamples=400):
    draws = draw(NAMES, resamples=resamples, generator=np.random.default_rng(1))
    return quality(truth, draws=draws, generator=np.random.default_rng(seed))


def test_both_figures_are_given_and_cases_make_it_lower():
    result = of(pool())
    assert result.noise == Noise.SEEDS_AND_CASES
    for name in HEADLINE:
        assert result.reliability.value[name] < result.over_seeds.value[name] <= 1
        assert len(result.reliability.resampled[name]) == MOST_RESAMPLES
        assert 0 < result.ceiling[name] < 1
    assert result.reliability.value["kendall"] < result.ceiling["kendall"]
    assert result.reason == ""


def test_unknown_or_few_cases_leave_the_seeds():
    for truth in (replace(pool(), cases=None), pool(m=3)):
        result = of(truth)
        assert result.noise == Noise.SEEDS
        assert result.reliability == result.over_seeds
        assert result.reason == ""


def test_cases_do_not_change_the_figures_over_seeds():
    with_cases, without = of(pool()), of(replace(pool(), cases=None))
    assert with_cases.over_seeds.value == without.over_seeds.value


@pytest.mark.parametrize(("truth", "reason"), [(pool(s=1), "1 seed, at least 2"), (pool(n=2), "2 sources, at least")])
def test_too_little_truth_is_undefined_with_the_reason(truth, reason):
    result = of(truth)
    assert reason in result.reason
    assert result.noise == Noise.UNKNOWN
    values = [*result.reliability.value.values(), *result.over_seeds.value.values(), *result.ceiling.values()]
    assert np.isnan([*values, result.by_noise, result.seed_sd]).all()
    assert result.best_minus_median == pytest.approx(truth.mean.max() - np.median(truth.mean))


def test_sources_alike_on_half_of_the_cases_leave_the_seeds_and_say_so():
    truth = pool(m=4)
    cases = truth.cases.copy()
    cases[:, :, :2] = 0.0  # every source fails on these two
    result = of(replace(truth, cases=cases, dice=cases.mean(axis=(2, 3))))
    assert result.noise == Noise.SEEDS
    assert result.reason == "over seeds only: all sources are alike in one half of the seeds and test cases"
    assert 0 < result.reliability.value["kendall"] < 1


@pytest.mark.filterwarnings("error")
def test_without_a_class_that_every_source_has_the_seeds_are_left():
    truth = pool()
    cases = truth.cases.copy()
    cases[0, 0] = np.nan
    result = of(replace(truth, cases=cases))
    assert result.noise == Noise.SEEDS
    assert result.reason == "over seeds only: no class has a Dice for every source, seed and case that has it"
    assert result.reliability == result.over_seeds
    assert np.isfinite(list(result.ceiling.values())).all()


def test_sources_alike_with_one_half_of_the_seeds_are_undefined():
    dice = np.array([[0.1, 0.0], [0.2, 0.0], [0.3, 0.0]])
    result = of(Pool("liver", "last", NAMES[:3], (0, 1), dice))
    assert result.reason == "all sources are alike in one half of the seeds"
    assert np.isnan(result.ceiling["kendall"])


def test_cases_with_a_missing_class_count_as_in_the_dice():
    # A second class that every source segments alike halves all differences; it is missing in half of the cases.
    truth = pool()
    cases = np.concatenate([truth.cases, np.full_like(truth.cases, 0.5)], axis=3)
    cases[:, :, ::2, 1] = np.nan
    dice = (truth.dice + 0.5) / 2
    one, two = of(truth), of(replace(truth, cases=cases, dice=dice))
    for name in HEADLINE:
        assert two.over_seeds.value[name] == pytest.approx(one.over_seeds.value[name], abs=1e-9)
        assert two.reliability.value[name] == pytest.approx(one.reliability.value[name], abs=1e-9)
    assert two.by_noise == pytest.approx(one.by_noise / 2)


@pytest.mark.parametrize("n", [3, 13, 60])
def test_expected_maximum_of_normal_values(n):
    values = np.random.default_rng(0).standard_normal((20_000, n)).max(axis=1)
    assert expected_maximum(n) == pytest.approx(values.mean(), abs=0.04)  # Blom's formula is off by up to 0.02


def test_equally_good_sources_differ_as_by_noise_alone():
    results = [of(pool(spread=0.0, seed=seed), resamples=1) for seed in range(25)]
    gap, by_noise = (np.mean([getattr(item, name) for item in results]) for name in ("best_minus_median", "by_noise"))
    assert gap == pytest.approx(by_noise, rel=0.15)  # two standard errors of a mean over 25 pools


def test_the_mean_is_taken_draw_by_draw_and_names_the_noise():
    parts = [of(pool(seed=seed)) for seed in range(2)]
    mean = mean_quality(parts, scope=Scope.MEAN)
    assert mean.noise == Noise.SEEDS_AND_CASES
    assert mean.by_noise == pytest.approx(np.mean([part.by_noise for part in parts]))
    for kind in ("reliability", "over_seeds"):
        drawn = [getattr(part, kind).resampled["kendall"] for part in parts]
        np.testing.assert_allclose(getattr(mean, kind).resampled["kendall"], np.mean(drawn, axis=0))
    seeds_only, undefined = of(replace(pool(), cases=None)), of(pool(s=1))
    assert mean_quality([parts[0], seeds_only], scope=Scope.MEAN).noise == Noise.SOME_CASES
    assert mean_quality([parts[0], undefined], scope=Scope.MEAN).noise == Noise.UNKNOWN
    assert np.isnan(mean_quality([parts[0], undefined], scope=Scope.MEAN).ceiling["kendall"])


def test_a_row_has_both_figures_with_their_intervals():
    row = reliability_row(of(pool()), subset="all")
    for name in HEADLINE:
        for figure in (name, f"{name}_over_seeds"):
            assert row[f"{figure}_low"] <= row[figure] <= row[f"{figure}_high"]
            assert row[f"{figure}_low"] < row[f"{figure}_high"]
    assert row["noise"] == "seeds and cases"


def test_fewer_than_six_sources_have_no_interval_and_say_so():
    result = of(pool(n=5))
    row = reliability_row(result, subset="all")
    assert np.isfinite(row["kendall"])
    assert np.isnan([row["kendall_low"], row["kendall_over_seeds_high"]]).all()
    assert result.reason == "5 sources, an interval of the reliability needs 6"
