"""SoftIoU-EEP: the definition, sample by sample."""

import numpy as np
import pytest

from baselines import soft_iou_eep_score


def direct(softmax, labels):
    joint = np.stack([softmax[labels == c].sum(axis=0) for c in range(labels.max() + 1)])
    expected = softmax @ (joint / joint.sum(axis=0)).T
    truth = np.eye(len(joint))[labels]
    both = (expected * truth).sum(axis=0)
    return np.mean(both / (expected.sum(axis=0) + truth.sum(axis=0) - both))


def test_the_definition(predictions):
    assert soft_iou_eep_score(*predictions) == pytest.approx(direct(*predictions))


def test_a_source_that_knows_nothing():
    """e_ic is the prior P: I = P^2, U = 2 P - P^2, so each class scores P / (2 - P)."""
    value = soft_iou_eep_score(np.ones((4, 1)), np.array([0, 0, 0, 1]))
    assert value == pytest.approx((0.75 / 1.25 + 0.25 / 1.75) / 2)
