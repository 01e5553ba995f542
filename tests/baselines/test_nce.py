"""NCE: cases worked by hand."""

import numpy as np
import pytest

from baselines import nce_score


def test_a_prediction_of_two_labels_has_their_entropy():
    """Source class 0 is seen with labels 0, 0, 1, 1 and class 1 with label 1 alone: -4/5 log 2."""
    assert nce_score(np.array([0, 0, 0, 0, 1]), np.array([0, 0, 1, 1, 1])) == pytest.approx(-0.8 * np.log(2))


def test_softmax_counts_by_its_argmax(predictions):
    softmax, labels = predictions
    assert nce_score(softmax, labels) == nce_score(softmax.argmax(axis=1), labels)


def test_the_names_of_source_classes_mean_nothing(predictions):
    softmax, labels = predictions
    assert nce_score(softmax[:, ::-1], labels) == pytest.approx(nce_score(softmax, labels))


def test_it_is_at_least_minus_the_entropy_of_the_labels(predictions):
    """Conditioning never raises entropy."""
    priors = np.array([0.5, 1 / 3, 1 / 6])
    assert (priors * np.log(priors)).sum() <= nce_score(*predictions) <= 0


def test_wrong_predictions_are_named():
    with pytest.raises(ValueError, match=r"`predictions` must be integers of shape \(2,\), got float64 \(2,\)"):
        nce_score(np.array([0.2, 0.8]), np.array([0, 1]))
