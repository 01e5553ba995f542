"""Dice of whole cases: by hand, against MONAI's own class, and NaN where a class is absent."""

import math

import pytest
import torch
from monai.metrics import DiceMetric

from benchmark.core.labels import IGNORED
from benchmark.training.dice import case_dice, mean_dice

FLOAT32 = 1e-6  # Dice is a ratio of counts, taken in float32


def test_by_hand():
    labels, predicted = torch.zeros(4, 4, 4, dtype=torch.uint8), torch.zeros(4, 4, 4, dtype=torch.uint8)
    labels[0, 0, :] = 1  # four voxels, of which three are found, and one too many
    predicted[0, 0, :3] = 1
    predicted[1, 0, 0] = 1
    labels[2, :2, :] = 2  # eight voxels, found exactly
    predicted[2, :2, :] = 2
    assert case_dice(predicted, labels, classes=3) == pytest.approx([2 * 3 / (4 + 4), 1.0], abs=FLOAT32)


def test_perfect_and_disjoint():
    labels = torch.zeros(4, 4, 4, dtype=torch.uint8)
    labels[0] = 1
    assert case_dice(labels, labels, classes=2) == [1.0]
    assert case_dice(labels.flip(0), labels, classes=2) == [0.0]


def test_a_class_that_is_there_and_not_found_is_zero_and_an_absent_one_nan():
    labels = torch.zeros(4, 4, 4, dtype=torch.uint8)
    labels[0] = 1
    nothing = torch.zeros_like(labels)
    scores = case_dice(nothing, labels, classes=3)
    assert scores[0] == 0.0
    assert math.isnan(scores[1])
    assert math.isnan(case_dice(labels + 1, labels, classes=3)[1])  # predicted, but not there: no Dice


@pytest.mark.parametrize("seed", range(5))
def test_against_monai(seed):
    generator = torch.Generator().manual_seed(seed)
    classes = 4
    logits = torch.randn(classes, 6, 7, 8, generator=generator)
    labels = torch.randint(classes - (seed % 2), (6, 7, 8), generator=generator, dtype=torch.uint8)
    monai = DiceMetric(include_background=False, reduction="none", num_classes=classes)
    expected = monai(logits.argmax(0)[None, None], labels[None, None].long())[0].tolist()
    assert case_dice(logits.argmax(0).to(torch.uint8), labels, classes=classes) == pytest.approx(
        expected, abs=FLOAT32, nan_ok=True
    )


def test_the_mean_is_over_classes_of_the_mean_over_cases_that_hold_them():
    nan = math.nan
    assert mean_dice([[0.2, nan], [0.4, 1.0]]) == pytest.approx((0.3 + 1.0) / 2)
    assert mean_dice([[0.2, nan], [0.4, nan]]) == pytest.approx(0.3)
    assert math.isnan(mean_dice([[nan, nan]]))
    assert math.isnan(mean_dice([]))
    assert mean_dice([[0.5]]) == 0.5


def test_ignored_voxels_count_neither_as_truth_nor_as_prediction():
    labels = torch.zeros(4, 4, 4, dtype=torch.uint8)
    labels[0] = 1
    predicted = labels.clone()
    predicted[3] = 1  # 16 voxels too many
    assert case_dice(predicted, labels, classes=3)[0] == pytest.approx(2 * 16 / (16 + 32), abs=FLOAT32)
    labels[3] = IGNORED
    scores = case_dice(predicted, labels, classes=3)
    assert scores[0] == 1.0
    assert math.isnan(scores[1])
