"""IoU-EEP: the definition, and ties."""

import numpy as np
import pytest

from baselines import iou_eep_score


def test_the_definition(predictions):
    softmax, labels = predictions
    joint = np.stack([softmax[labels == c].sum(axis=0) for c in range(3)])
    predicted = (softmax @ (joint / joint.sum(axis=0)).T).argmax(axis=1)
    ious = [((predicted == c) & (labels == c)).sum() / ((predicted == c) | (labels == c)).sum() for c in range(3)]
    assert iou_eep_score(softmax, labels) == pytest.approx(np.mean(ious))


def test_a_source_that_knows_nothing_predicts_the_commonest_class():
    """All samples are predicted as class 1: its IoU is 3/4, the other's 0."""
    assert iou_eep_score(np.ones((4, 1)), np.array([0, 1, 1, 1])) == pytest.approx(0.375)


def test_hard_predictions_are_a_relabelling():
    assert iou_eep_score(np.eye(3)[[2, 2, 0, 1]], np.array([0, 0, 1, 1])) == 1
