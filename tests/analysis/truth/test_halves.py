"""Halves of seeds and cases: every split, the Dice as the mean over classes has it, and planted noise."""

from itertools import combinations

import numpy as np
import pytest

from analysis.agreement.measure_table import KENDALL, PEARSON, PRIMARY
from analysis.agreement.rank_measures import kendall
from analysis.truth.halves import (
    MOST_SPLITS,
    NoiseVariances,
    case_values,
    crossed_halves,
    seed_halves,
    seed_variances,
    splits,
)

NEAR = 0.03  # relative, of a variance from 400 pools of 12 sources; three standard errors are 0.02


def two_way(*, seeds, cases, both, n=12, s=4, m=6, number=400, seed=0):
    """Dice (number, n, s, m) of sources that are equally good, with noise of these standard deviations."""
    generator = np.random.default_rng(seed)
    shared = generator.standard_normal((number, 1, s, 1)) + generator.standard_normal((number, 1, 1, m))
    return (
        0.1 * shared
        + seeds * generator.standard_normal((number, n, s, 1))
        + cases * generator.standard_normal((number, n, 1, m))
        + both * generator.standard_normal((number, n, s, m))
    )


@pytest.mark.parametrize(("seeds", "number"), [(2, 1), (3, 3), (4, 3), (5, 10), (6, 10), (8, 35)])
def test_every_split_is_taken_once(seeds, number):
    halves = splits(seeds)
    both = {frozenset((frozenset(np.flatnonzero(mask)), frozenset(np.flatnonzero(~mask)))) for mask in halves}
    assert len(halves) == len(both) == number
    assert all(mask.sum() == seeds // 2 for mask in halves)


def test_many_seeds_have_a_bounded_choice_of_splits():
    halves = splits(16)
    assert MOST_SPLITS / 2 < len(halves) <= MOST_SPLITS
    assert len({tuple(mask) for mask in halves}) == len(halves)


@pytest.mark.parametrize("s", [3, 4])
def test_halves_of_the_seeds_are_those_written_out(s):
    dice = np.random.default_rng(0).uniform(size=(7, s))
    values = []
    for first in list(combinations(range(s), s // 2))[: 3 if s == 4 else None]:
        rest = [seed for seed in range(s) if seed not in first]
        values.append(kendall(dice[:, first].mean(axis=1), dice[:, rest].mean(axis=1)))
    assert seed_halves(dice).agreement([KENDALL])["kendall"] == pytest.approx(np.mean(values))


@pytest.mark.parametrize(("s", "lengthening"), [(2, 2.0), (4, 2.0), (3, (3 + 3 / 2) / 2)])
def test_lengthening_of_seeds_is_the_share_of_seeds_that_a_half_lacks(s, lengthening):
    # Var(half) / Var(whole) = (v / size) / (v / s); with 3 seeds the halves have one and two.
    assert seed_halves(np.random.default_rng(0).uniform(size=(7, s))).lengthening == pytest.approx(lengthening)


def test_resamples_that_draw_each_source_once_are_the_pool():
    halves = seed_halves(np.random.default_rng(0).uniform(size=(8, 4)))
    drawn = halves.resampled(PRIMARY, np.ones((2, 8), dtype=np.int64))
    for name, value in halves.agreement(PRIMARY).items():
        np.testing.assert_allclose(drawn[name], value)


def test_case_values_average_to_the_mean_over_classes():
    # Brute force: the Dice of a class is its mean over the cases that have it, the Dice their mean over classes.
    cases = np.random.default_rng(0).uniform(size=(5, 3, 7, 3))
    cases[:, :, [0, 2, 5], 1] = np.nan
    cases[:, :, :, 2] = np.nan  # no case has it: it does not count
    for source, seed in np.ndindex(5, 3):
        of_classes = [np.mean([d for d in cases[source, seed, :, k] if np.isfinite(d)]) for k in (0, 1)]
        assert case_values(cases)[source, seed].mean() == pytest.approx(np.mean(of_classes))


@pytest.mark.parametrize("having", [12, 6, 2, 1])
def test_a_missing_class_is_no_noise_of_cases(having):
    # Planted: each class is as good on every case that has it, so that the only noise is that of the seeds.
    generator = np.random.default_rng(0)
    cases = generator.uniform(0.4, 0.8, (12, 1, 1, 2)) + 0.005 * generator.standard_normal((12, 3, 1, 1))
    cases = np.repeat(cases, 12, axis=2)
    cases[:, :, having:, 1] = np.nan
    dice = np.nanmean(cases, axis=2).mean(axis=-1)
    np.testing.assert_allclose(case_values(cases), np.repeat(dice[..., None], 12, axis=-1))
    variance = crossed_halves(cases, generator=generator, number=2).variance
    np.testing.assert_allclose(variance, seed_halves(dice).variance, atol=1e-12)


@pytest.mark.parametrize("having", [12, 6, 2])
def test_variance_of_a_class_in_some_cases_is_too_low_by_the_stated_factor(having):
    generator = np.random.default_rng(0)
    cases = 0.05 * generator.standard_normal((2000, 1, 12, 1)) * np.ones((1, 2, 1, 1))
    cases = np.concatenate([np.zeros_like(cases), cases], axis=-1)
    cases[:, :, having:, 1] = np.nan
    planted = (0.05 / 2) ** 2 / having  # of the mean of two classes, one of them without noise
    estimate = NoiseVariances.of(case_values(cases)).cases.mean() / 12
    assert estimate == pytest.approx(planted * (1 - 1 / having) / (1 - 1 / 12), rel=0.1)  # three standard errors


def test_without_a_class_that_counts_there_are_no_case_values():
    cases = np.full((2, 3, 4, 1), 0.5)
    cases[0, 0] = np.nan
    assert np.isnan(case_values(cases)).all()


def test_crossed_halves_share_neither_seeds_nor_cases():
    # Dice that names its seed and case: 2^seed with weight 1, and 32 * 2^case.
    seeds, cases = 2.0 ** np.arange(4), 32 * 2.0 ** np.arange(6)
    values = np.broadcast_to(seeds[:, None] + cases, (3, 4, 6))[..., None]
    halves = crossed_halves(values, generator=np.random.default_rng(0), number=30)
    # Halves of 2 seeds and 3 cases: the means of both add up to those of all seeds and cases, times two.
    np.testing.assert_allclose(halves.first + halves.second, 2 * (seeds.mean() + cases.mean()))
    assert len(np.unique(halves.first[:, 0].round(6))) > 10


def test_agreement_of_crossed_halves_is_that_of_means_written_out():
    values = np.random.default_rng(0).uniform(size=(6, 2, 2))
    halves = crossed_halves(values[..., None], generator=np.random.default_rng(0), number=2000)
    # Two seeds and two cases: the diagonals are the only crossings.
    expected = np.mean([kendall(values[:, 0, 0], values[:, 1, 1]), kendall(values[:, 0, 1], values[:, 1, 0])])
    assert halves.agreement([KENDALL])["kendall"] == pytest.approx(expected, abs=0.05)  # three standard errors


@pytest.mark.parametrize(
    ("seeds", "cases", "both"), [(0.02, 0.03, 0.05), (0.03, 0.0, 0.02), (0.0, 0.03, 0.0), (0.02, 0.02, 0.0)]
)
def test_planted_variances_are_estimated(seeds, cases, both):
    parts = [NoiseVariances.of(values) for values in two_way(seeds=seeds, cases=cases, both=both)]
    total = seeds**2 + cases**2 + both**2
    for name, planted in (("seeds", seeds), ("cases", cases), ("both", both)):
        estimate = np.mean([getattr(part, name) for part in parts])
        assert estimate == pytest.approx(planted**2, abs=NEAR * total)


def test_planted_variance_of_a_mean_is_estimated():
    parts = [NoiseVariances.of(values) for values in two_way(seeds=0.03, cases=0.03, both=0.05)]
    for s, m in ((4, 6), (2, 3)):
        expected = 0.03**2 / s + 0.03**2 / m + 0.05**2 / (s * m)
        assert np.mean([part.of_mean(s, m) for part in parts]) == pytest.approx(expected, rel=NEAR)


def test_negative_estimates_count_as_zero_without_moving_the_mean():
    noise = NoiseVariances(np.array([0.4, -0.2]), np.array([0.4, -0.2]), np.array([0.8, 0.8]))
    # With two seeds and two cases the parts are 0.4 and -0.2: 0 for the second, and their mean of 0.1 for both.
    np.testing.assert_allclose(noise.of_mean(2, 2), [0.2 + 0.2, 0.2])


def test_noisy_sources_are_kept_apart():
    values = two_way(seeds=0.02, cases=0.02, both=0.02)
    values[:, 0] *= 5
    variances = np.mean([NoiseVariances.of(pool).of_mean(4, 6) for pool in values], axis=0)
    assert variances[0] > 10 * variances[1:].max()


def test_a_good_seed_for_all_is_no_noise():
    dice = np.random.default_rng(0).uniform(size=(9, 4))
    np.testing.assert_allclose(seed_variances(dice + np.array([0.0, 0.2, -0.1, 0.3])), seed_variances(dice))


def test_half_of_seeds_and_cases_has_up_to_four_times_the_noise():
    generator = np.random.default_rng(0)
    for seeds, both, expected in ((0.05, 0.0, 2.0), (0.0, 0.05, 4.0)):
        pools = two_way(seeds=seeds, cases=seeds, both=both, s=6, m=20, number=40)
        found = np.mean([crossed_halves(pool[..., None], generator=generator, number=2).lengthening for pool in pools])
        # Estimates of seeds and cases that are 0 are positive by chance in half of the pools, which lowers k.
        assert found == pytest.approx(expected, abs=0.25)


def test_crossed_halves_agree_less_where_cases_differ():
    generator = np.random.default_rng(0)
    expected = 0.05 * generator.standard_normal((60, 12, 1, 1))
    pools = expected + two_way(seeds=0.02, cases=0.1, both=0.02, number=60)
    over_seeds = [seed_halves(pool.mean(axis=2)).agreement([PEARSON])["pearson"] for pool in pools]
    both = [crossed_halves(pool[..., None], generator=generator).agreement([PEARSON])["pearson"] for pool in pools]
    assert np.mean(over_seeds) > np.mean(both) + 0.2
