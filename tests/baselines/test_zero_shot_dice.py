"""Zero-shot Dice: matchings worked by hand."""

import numpy as np
import pytest

from baselines import zero_shot_dice_score


def test_the_best_matching_is_found():
    """Target 1 is predicted as 2, target 2 as 1: Dice 1 and 1 though no index agrees."""
    assert zero_shot_dice_score(np.eye(3)[[0, 2, 2, 1]], np.array([0, 1, 1, 2])) == 1


def test_a_source_class_serves_one_target_class():
    """Both targets are predicted as 1. Matched to one of them: 2 2/(2 + 4) = 2/3, the other 0; mean 1/3."""
    assert zero_shot_dice_score(np.eye(2)[[0, 1, 1, 1, 1]], np.array([0, 1, 1, 2, 2])) == pytest.approx(1 / 3)


def test_fewer_source_classes_than_targets():
    assert zero_shot_dice_score(np.ones((4, 1)), np.array([0, 1, 2, 3])) == pytest.approx(2 / 5 / 3)


def test_a_class_without_samples_is_said(predictions):
    from baselines import zero_shot_dice_from_joint
    from benchmark import JointHistogram

    softmax, labels = predictions
    score = zero_shot_dice_from_joint(JointHistogram.from_samples(softmax, labels, 5))
    assert score.reason == "classes without samples left out: [3, 4]"
    assert score.value == zero_shot_dice_score(softmax, labels)
