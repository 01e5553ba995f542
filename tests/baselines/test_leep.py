"""LEEP: the definition, its limits, and its second look at the softmax."""

import numpy as np
import pytest

from baselines import LEEP, leep_from_softmax, leep_score
from benchmark import JointHistogram


def direct(softmax, labels):
    """Sample by sample, as the paper has it; every source class has probability."""
    z = softmax.shape[1]
    joint = np.array([[softmax[labels == c, s].sum() for s in range(z)] for c in range(labels.max() + 1)]) / len(labels)
    given = joint / joint.sum(axis=0)
    return np.mean([np.log(sum(given[y, s] * p[s] for s in range(z))) for p, y in zip(softmax, labels, strict=True)])


def test_the_definition(predictions):
    assert leep_score(*predictions) == pytest.approx(direct(*predictions))


def test_a_source_class_of_probability_zero_takes_no_part(predictions):
    softmax, labels = predictions
    assert leep_score(np.hstack([softmax, np.zeros((60, 2))]), labels) == leep_score(softmax, labels)


def test_a_source_that_knows_nothing_gives_the_priors():
    """One source class: P(c given z) is the prior, so LEEP is minus the entropy of the labels."""
    priors = np.array([0.5, 1 / 3, 1 / 6])
    assert leep_score(np.ones((60, 1)), np.repeat([0, 1, 2], [30, 20, 10])) == pytest.approx(
        (priors * np.log(priors)).sum()
    )


def test_it_bounds_the_prediction(predictions):
    """By Jensen's inequality the mean logarithm is at most the logarithm of the mean, which is EEP."""
    from baselines import eep_score

    assert leep_score(*predictions) <= np.log(eep_score(*predictions))


def test_the_second_look_may_come_in_pieces(predictions):
    softmax, labels = predictions
    histogram = JointHistogram.from_samples(softmax, labels, 3)
    pieces = [(softmax[rows], labels[rows]) for rows in (slice(0, 13), slice(13, 14), slice(14, None))]
    assert leep_from_softmax(histogram, pieces).value == pytest.approx(leep_score(softmax, labels))


def test_a_second_look_that_lacks_a_class_is_undefined(predictions):
    softmax, labels = predictions
    histogram = JointHistogram.from_samples(softmax, labels, 3)
    score = leep_from_softmax(histogram, [(softmax[labels < 2], labels[labels < 2])])
    assert score.reason == "the second look at the softmax has no samples of classes [2]"


def test_balanced_is_the_mean_of_equal_classes(predictions):
    """Repeating the samples of the rarer classes until all have as many gives the same score."""
    softmax, labels = predictions
    repeated = np.concatenate(
        [np.tile(np.flatnonzero(labels == label), times) for label, times in enumerate((2, 3, 6))]
    )
    assert leep_score(softmax, labels, balanced=True) == pytest.approx(leep_score(softmax[repeated], labels[repeated]))


def test_half_precision_costs_three_digits(predictions):
    softmax, labels = predictions
    assert leep_score(softmax.astype(np.float16), labels) == pytest.approx(leep_score(softmax, labels), rel=1e-3)


def test_updates_must_fit(predictions):
    metric = LEEP()
    metric.update(*predictions)
    with pytest.raises(ValueError, match="`softmax` must have 4 columns, got 1"):
        metric.update(np.ones((2, 1)), np.array([0, 1]))
