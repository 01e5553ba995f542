"""The short version of the weak sources: the ceiling is right on average."""

import numpy as np
import pytest

from analysis.agreement.measure_table import PRIMARY
from analysis.simulation.weak_sources import DIFFICULTY, PoolsWithWeakSources

POOLS = 30


def simulation(weak=(1,), spreads=(0.01,), cases=(0, 6)):
    return PoolsWithWeakSources(
        sources=13, weak=weak, spreads=spreads, gap=0.3, seeds=4, seed_sd=0.02, cases=cases, case_sd=0.02, both_sd=0.04,
        error=(-0.03, 0.03),
    )  # fmt: skip


@pytest.fixture(scope="module")
def results(run_short):
    return run_short(simulation(), pools=POOLS)


def test_the_ceiling_is_right_on_average(results, holds):
    assert list(results) == ["1 weak; spread 0.01; seeds", "1 weak; spread 0.01; seeds and 6 cases"]
    for rows in results.values():
        for measure in PRIMARY:
            assert holds(rows[f"mean error, ceiling of {measure.name}"])
            error = rows[f"mean error, reliability of {measure.name}"]
            assert not error.required
            assert abs(error.value) <= 0.03 + 3 * error.error


def test_a_weak_source_hardly_raises_the_true_ceiling_of_a_rank_measure(results):
    rows = results["1 weak; spread 0.01; seeds"]
    assert rows["true ceiling of pearson"].value > 0.95
    assert rows["true ceiling of kendall"].value < 0.75  # as the 12 others are not told apart by their noise
    assert rows["true reliability of kendall"].value < rows["true ceiling of kendall"].value


def test_the_dice_have_their_variances():
    pools = simulation()
    generator = np.random.default_rng(0)
    expected = pools.expected_dice(4000, 1, 0.01, generator)
    assert expected.mean(axis=0)[[0, 1]] == pytest.approx([0.4, 0.7], abs=0.003)  # three errors of 0.05 / sqrt(4000)
    values = pools.measured_dice(np.zeros((20_000, 2)), 6, generator)
    assert values.shape == (20_000, 2, 4, 6)
    # same seed: a; same case: b and the difficulty; between sources only the difficulty. A product has a standard
    # deviation of 0.006 at most, its mean a standard error of 4e-5
    products = [values[:, 0, 0, 0] * other for other in (values[:, 0, 0, 1], values[:, 0, 1, 0], values[:, 1, 0, 0])]
    expected_products = [0.02**2, 0.02**2 + DIFFICULTY**2, DIFFICULTY**2]
    assert [float(product.mean()) for product in products] == pytest.approx(expected_products, abs=1.6e-4)
    assert pools.measured_dice(np.zeros((2, 3)), 0, generator).shape == (2, 3, 4)
