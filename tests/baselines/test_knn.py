"""kNN: cases worked by hand."""

import numpy as np
import pytest

from baselines import knn_score
from baselines.knn import BLOCK


def test_a_sample_is_not_its_own_neighbour():
    """Two classes in alternation on a line: each sample's nearest others are of the other class."""
    assert knn_score(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 1, 0, 1]), k=1) == 0


def test_the_smallest_label_wins_a_tied_vote():
    """Neighbours of 0 at -1 (label 2) and 1 (label 1) tie, so 1 is predicted; the outer two see 0 and one another."""
    line = np.array([[-1.0], [0.0], [1.1]])
    assert knn_score(line, np.array([2, 1, 1]), k=2) == pytest.approx(2 / 3)


def test_released_ties_score_a_share():
    """Each sample's two neighbours differ in label, so each scores 1/2."""
    line, labels = np.array([[0.0], [1.0], [2.1]]), np.array([0, 1, 2])
    assert knn_score(line, labels, k=2, released_ties=True) == pytest.approx(0.5)
    assert knn_score(line, labels, k=2) == 0


def test_equally_near_samples_are_taken_by_label_not_by_order():
    rows, labels = np.array([[0.0], [1.0], [-1.0]]), np.array([1, 1, 0])
    order = [0, 2, 1]
    assert knn_score(rows, labels, k=1) == knn_score(rows[order], labels[order], k=1)


def test_more_samples_than_a_block():
    labels = np.arange(BLOCK + 40) % 2
    rows = np.random.default_rng(0).normal(size=(len(labels), 2)) + 50 * labels[:, None]
    assert knn_score(rows, labels, k=3) == 1


def test_too_few_samples_are_undefined():
    with pytest.warns(UserWarning, match="2 samples are too few for 5 neighbours each"):
        assert np.isnan(knn_score(np.eye(2), np.array([0, 1])))


def test_a_wrong_option_is_named(samples):
    with pytest.raises(ValueError, match="`k` must be at least 1, got 0"):
        knn_score(*samples, k=0)


def test_the_sampling_of_a_pass_is_no_option_of_samples(samples):
    with pytest.raises(TypeError, match="`count` sets how a pass samples and has no effect on samples that are given"):
        knn_score(*samples, count=10)
    with pytest.raises(TypeError, match="neighbours"):
        knn_score(*samples, neighbours=10)
