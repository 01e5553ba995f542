"""Many resamples at once equal the plain measures on each resample written out."""

import numpy as np
import pytest

from analysis.agreement.measure_table import MEASURES

SAME = 1e-12  # sums of at most a few hundred float64 terms


def every(measure):
    return pytest.mark.parametrize("measure", measure, ids=lambda measure: measure.name)


def drawn(seed, *, n=8, b=60, ties=True):
    """A pool with ties and resamples of it that leave every measure defined."""
    generator = np.random.default_rng(seed)
    x = generator.integers(0, 6, n).astype(float) if ties else generator.normal(size=n)
    y = generator.integers(1, 7, n) / 10 if ties else generator.uniform(0.1, 0.9, n)
    counts = generator.multinomial(n, np.full(n, 1 / n), size=b)
    varied = [np.ptp(x[c > 0]) > 0 and np.ptp(y[c > 0]) > 0 for c in counts]
    return x, y, counts[varied]


@every(MEASURES)
@pytest.mark.parametrize("ties", [True, False])
def test_counts_equal_copies(measure, ties):
    x, y, counts = drawn(1, ties=ties)
    expected = [measure.of_pool(np.repeat(x, c), np.repeat(y, c)) for c in counts]
    np.testing.assert_allclose(measure.of_resamples(x, y, counts), expected, atol=SAME)


@every(MEASURES)
@pytest.mark.parametrize("n", [6, 101])  # one block of rows, and several
def test_rows_may_have_scores_of_their_own(measure, n):
    generator = np.random.default_rng(6)
    x, y = generator.normal(size=(40, n)), generator.uniform(0.1, 0.9, size=(40, n))
    expected = [measure.of_pool(*pair) for pair in zip(x, y, strict=True)]
    np.testing.assert_allclose(measure.of_rows(x, y), expected, atol=SAME)


@every(MEASURES)
def test_the_jackknife_leaves_a_source_out(measure):
    x, y, _ = drawn(3, ties=False)
    without = measure.of_resamples(x, y, 1 - np.eye(len(x), dtype=np.int64))
    expected = [measure.of_pool(np.delete(x, i), np.delete(y, i)) for i in range(len(x))]
    np.testing.assert_allclose(without, expected, atol=SAME)


@every(MEASURES[:5])
def test_one_source_over_and_over_is_undefined(measure):
    x, y = np.array([0.1, 0.2, 0.7]) + 1000, np.array([0.3, 0.1, 0.4])
    assert np.isnan(measure.of_resamples(x, y, np.array([[0, 3, 0]]))).all() or measure.name == "rel_1"


@every(MEASURES)
@pytest.mark.parametrize("n", [6, 101])
def test_rows_equal_pools(measure, n):
    generator = np.random.default_rng(4)
    x, y = generator.normal(size=n), generator.uniform(0.1, 0.9, size=(5, n))
    np.testing.assert_allclose(measure.of_rows(x, y), [measure.of_pool(x, row) for row in y], atol=SAME)


def test_a_large_offset_costs_no_digits():
    # Pearson does not see an offset; float64 keeps 1e-16 * 1e6 = 1e-10 of scores that differ by 1.
    x, y, counts = drawn(5, ties=False)
    pearson = MEASURES[0].of_resamples
    np.testing.assert_allclose(pearson(x + 1e6, y, counts), pearson(x, y, counts), atol=1e-8)
