"""Dice of whole cases: by hand, against MONAI's own class, and NaN where a class is absent."""

import math

import pytest
import torch
from monai.inferers import sliding_window_inference
from monai.metrics import DiceMetric
from torch import nn

from benchmark.training import dice
from benchmark.training.dice import case_dice, mean_dice, predict

FLOAT32 = 1e-6  # Dice is a ratio of counts, taken in float32
WINDOWS = 1e-5  # weighted means of float32 logits about 1, summed in another order


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


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Conv3d(1, 2, 3, padding=1).eval()


def _agree(labels: torch.Tensor, logits: torch.Tensor) -> bool:
    """Whether labels (D, H, W) are those of logits (2, D, H, W), wherever rounding cannot decide."""
    clear = (logits[0] - logits[1]).abs() > WINDOWS
    assert clear.float().mean() > 0.99
    return bool((labels == logits.argmax(0))[clear].all())


def test_a_prediction_is_that_of_monai_s_sliding_window_case_by_case(network, make_case):
    """Neighbours of one shape go through together, and all come back in their order."""
    shapes = [(12, 14, 13), (12, 14, 13), (16, 12, 12), (12, 14, 13), (14, 14, 14)]
    cases = [make_case(seed=seed, shape=shape) for seed, shape in enumerate(shapes)]
    predictions = list(predict(network, cases, window=(10, 10, 10), overlap=0.5))
    assert [case for case, _ in predictions] == cases
    for case, labels in predictions:
        with torch.no_grad():
            alone = sliding_window_inference(
                case.image[None], (10, 10, 10), 1, network, overlap=0.5, mode="gaussian", padding_mode="replicate"
            )
        assert labels.dtype == torch.uint8
        assert _agree(labels, alone[0])


def test_no_more_cases_are_read_than_go_through_together(network, make_case, monkeypatch):
    """Whole data sets of large volumes pass without being in memory at once."""
    read = []

    def cases():
        for seed in range(5):
            read.append(seed)
            yield make_case(seed=seed, shape=(12, 12, 12))

    monkeypatch.setattr(dice, "TOGETHER", 2 * 12**3)
    predictions = predict(network, cases(), window=(12, 12, 12))
    next(predictions)
    assert read == [0, 1, 2]  # the third tells that two are enough
    assert len(list(predictions)) == 4


def test_a_window_that_holds_the_case_changes_nothing(network, make_case):
    case = make_case(seed=0, shape=(12, 12, 12))
    with torch.no_grad():
        whole = network(case.image[None])[0]
    ((_, labels),) = predict(network, [case], window=(12, 12, 12))
    assert _agree(labels, whole)


def test_no_cases_give_no_predictions(network):
    assert list(predict(network, [], window=(8, 8, 8))) == []
