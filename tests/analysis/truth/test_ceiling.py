"""The ceiling and the reliability of the whole against brute force: other noise, and a predictor that knows it all."""

import numpy as np
import pytest

from analysis.agreement.measure_table import KENDALL, PEARSON, PRIMARY, WEIGHTED_KENDALL
from analysis.truth.ceiling import calibrate, pearson_ceiling, simulated_ceiling
from analysis.truth.halves import crossed_halves, seed_halves

POOLS = 80
NEAR = 0.06  # the mean error is at most 0.02 (500 pools), the standard error of 80 pools at most 0.02
CALM = 0.025  # with reliable pools; the standard error is below 0.008
NOISE = 0.02  # of a seed


def expected_dice(weak, *, spread, n=13, number=POOLS, generator):
    """Expected Dice (number, n) of sources close together but for the weak ones, which lose 0.2 to 0.4."""
    expected = 0.7 + spread * generator.standard_normal((number, n))
    expected[:, :weak] -= 0.3 * generator.uniform(0.7, 1.3, (number, weak))
    return expected


def over_seeds(expected, *, s=4, noise=NOISE, generator):
    """Observed Dice (number, n, s); a seed's effect on all sources does not matter."""
    shape = expected.shape[0], 1, s
    own = noise * generator.standard_normal((*expected.shape, s))
    return expected[..., None] + own + 0.1 * generator.standard_normal(shape)


def calibrated(pool, halves, measures, generator):
    calibration = calibrate(pool, halves, measures=measures, generator=generator)
    return calibration, halves.agreement(measures)


@pytest.mark.parametrize(("weak", "spread"), [(0, 0.01), (0, 0.03), (1, 0.0075), (3, 0.0075)])
def test_the_ceiling_holds_with_weak_sources(weak, spread):
    generator = np.random.default_rng(3)
    expected = expected_dice(weak, spread=spread, generator=generator)
    dice = over_seeds(expected, generator=generator)
    reached = {m.name: m.of_rows(expected, dice.mean(axis=2)).mean() for m in PRIMARY}
    estimates = {m.name: [] for m in PRIMARY}
    for pool in dice:
        calibration, half = calibrated(pool.mean(axis=1), seed_halves(pool), PRIMARY, generator)
        for m in PRIMARY:
            estimates[m.name].append(calibration.ceiling(m, half[m.name]))
    for name, values in estimates.items():
        assert np.mean(values) == pytest.approx(reached[name], abs=NEAR), name


@pytest.mark.parametrize("weak", [0, 1])
def test_reliability_is_that_of_the_mean_over_all_seeds(weak):
    generator = np.random.default_rng(4)
    expected = expected_dice(weak, spread=0.03, generator=generator)
    dice = over_seeds(expected, generator=generator)
    again = over_seeds(expected, generator=generator)
    repeated = {m.name: m.of_rows(dice.mean(axis=2), again.mean(axis=2)).mean() for m in PRIMARY}
    estimates = {m.name: [] for m in PRIMARY}
    for pool in dice:
        calibration, half = calibrated(pool.mean(axis=1), seed_halves(pool), PRIMARY, generator)
        for m in PRIMARY:
            estimates[m.name].append(float(calibration.reliability(m, np.array(half[m.name]))))
    for name, values in estimates.items():
        assert np.mean(values) == pytest.approx(repeated[name], abs=CALM), name


def test_seeds_and_cases_lower_the_ceiling_as_they_should():
    generator = np.random.default_rng(5)
    expected = expected_dice(1, spread=0.02, generator=generator)
    number, n = expected.shape
    noise = (
        0.02 * generator.standard_normal((number, n, 4, 1))
        + 0.03 * generator.standard_normal((number, n, 1, 6))
        + 0.04 * generator.standard_normal((number, n, 4, 6))
        + 0.1 * generator.standard_normal((number, 1, 1, 6))  # hard cases are hard for all sources
    )
    cases = expected[..., None, None] + noise
    reached = KENDALL.of_rows(expected, cases.mean(axis=(2, 3))).mean()
    estimates = []
    for pool in cases:
        halves = crossed_halves(pool[..., None], generator=generator)
        calibration, half = calibrated(pool.mean(axis=(1, 2)), halves, [KENDALL], generator)
        estimates.append(calibration.ceiling(KENDALL, half["kendall"]))
    assert np.mean(estimates) == pytest.approx(reached, abs=NEAR)
    only_seeds = [simulated_ceiling(pool.mean(axis=2), measure=KENDALL, generator=generator) for pool in cases[:30]]
    assert np.mean(only_seeds) > np.mean(estimates) + 0.05  # the same cases: that noise is not seen


def test_the_ceiling_holds_where_some_sources_are_noisier():
    generator = np.random.default_rng(2)
    expected = expected_dice(0, spread=0.1, generator=generator)
    noise = generator.choice([0.03, 0.19], p=[0.7, 0.3], size=(*expected.shape, 1))
    dice = over_seeds(expected, noise=noise, generator=generator)
    reached = KENDALL.of_rows(expected, dice.mean(axis=2)).mean()
    estimates = [simulated_ceiling(pool, measure=KENDALL, generator=generator) for pool in dice]
    assert np.mean(estimates) == pytest.approx(reached, abs=NEAR)


@pytest.mark.parametrize("measure", PRIMARY, ids=lambda measure: measure.name)
def test_exact_dice_has_a_ceiling_of_1_and_noise_a_low_one(measure):
    generator = np.random.default_rng(0)
    exact = np.linspace(0.1, 0.8, 6)[:, None] + np.zeros(4)
    assert simulated_ceiling(exact, measure=measure, generator=generator) == pytest.approx(1)
    pools = over_seeds(np.full((40, 13), 0.5), generator=generator)
    noise = [simulated_ceiling(pool, measure=measure, generator=generator) for pool in pools]
    assert min(noise) >= 0
    assert np.mean(noise) < 0.4  # not 0, since no estimate is negative
    assert np.median(noise) < 0.35


def test_equal_means_leave_nothing_to_predict():
    equal = np.array([[1, 2, 3, 4], [2, 1, 4, 3], [4, 3, 2, 1], [1, 4, 2, 3]]) / 16
    assert simulated_ceiling(equal, measure=WEIGHTED_KENDALL, generator=np.random.default_rng(0)) == 0


def test_halves_without_a_ranking_have_no_ceiling():
    alike = np.array([[0.1, 0.0], [0.2, 0.0], [0.3, 0.0]])
    assert np.isnan(simulated_ceiling(alike, measure=KENDALL, generator=np.random.default_rng(0)))


def test_more_draws_are_allowed():
    generator = np.random.default_rng(0)
    dice = over_seeds(expected_dice(0, spread=0.03, number=1, generator=generator), generator=generator)[0]
    few, many = (
        np.std([simulated_ceiling(dice, generator=np.random.default_rng(seed), draws=draws) for seed in range(8)])
        for draws in (12, 400)
    )
    assert many < few


def test_pearson_ceiling_is_the_root_of_the_reliability_of_the_whole():
    assert pearson_ceiling(0.5) == pytest.approx(np.sqrt(2 * 0.5 / 1.5))
    assert pearson_ceiling(0.5, lengthening=4.0) == pytest.approx(np.sqrt(4 * 0.5 / 2.5))
    assert np.isnan(pearson_ceiling(np.nan))


def test_pearson_s_reliability_is_spearman_and_brown_s():
    generator = np.random.default_rng(0)
    dice = over_seeds(expected_dice(0, spread=0.03, number=1, generator=generator), generator=generator)[0]
    calibration, half = calibrated(dice.mean(axis=1), seed_halves(dice), [PEARSON], generator)
    r = half["pearson"]
    assert calibration.reliability(PEARSON, np.array(r)) == pytest.approx(2 * r / (1 + r))
