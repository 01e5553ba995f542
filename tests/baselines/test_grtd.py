"""GRTD: a case worked by hand, and its range."""

import numpy as np
import pytest

from baselines import grtd_score


def test_a_line_by_hand():
    """Samples 0, 1 | 3, 7: edges 1, 2 (crossing), 4; the median of the distances 1, 2, 3, 4, 6, 7 is 3.5.

    Class 0 touches the edges 1 and 2, class 1 touches 2 and 4: deltas (3 - 2)/3 and (6 - 2)/6.
    """
    assert grtd_score(np.array([[0.0], [1.0], [3.0], [7.0]]), np.array([0, 0, 1, 1])) == pytest.approx(
        -(1 / 3 + 2 / 3) / 2
    )


def test_a_long_crossing_edge_costs_the_median_at_most():
    """Samples 0, 1 | 101, 102: the crossing edge 100; the median of 1, 1, 100, 101, 101, 102 is 100.5, above it."""
    expected = -(1 / 101 + 1 / 101) / 2
    assert grtd_score(np.array([[0.0], [1.0], [101.0], [102.0]]), np.array([0, 0, 1, 1])) == pytest.approx(expected)


def test_alternating_classes_save_everything():
    """Each edge of an evenly spaced line crosses and none is longer than the median: all deltas are 0."""
    assert grtd_score(np.arange(6.0)[:, None], np.arange(6) % 2) == pytest.approx(0, abs=1e-8)


def test_it_falls_as_classes_separate():
    """Against the paper's claim: with many samples a class, the few crossing edges hardly count."""
    labels = np.repeat([0, 1], 50)
    rows = np.random.default_rng(0).normal(size=(100, 2))
    assert grtd_score(rows + 3 * labels[:, None], labels) < grtd_score(rows, labels)
