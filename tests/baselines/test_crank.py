"""CRank: measures by hand, and its two passes."""

import numpy as np
import pytest
import torch

from baselines import CRank, crank_hamming, crank_map, crank_mask, crank_mean, crank_score
from benchmark.statistics import SoftmaxRequest, Statistics, StoredSoftmax

MEASURES = ("difference", "effective_invariance", "entropy", "kl_divergence", "cross_entropy", "hamming")
U, P = np.array([[0.64, 0.9, 0.2]]), np.array([[0.36, 0.9, 0.1]])


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("difference", [0.2, 0, np.sqrt(0.2) - np.sqrt(0.1)]),
        ("effective_invariance", [0, 0.9, np.sqrt(0.8 * 0.9)]),
        ("entropy", [1, -0.9 * np.log2(0.9) - 0.1 * np.log2(0.1), -0.15 * np.log2(0.15) - 0.85 * np.log2(0.85)]),
        ("kl_divergence", [0.28 * np.log2(0.64 / 0.36), 0, 0.2 * np.log2(2) + 0.8 * np.log2(8 / 9)]),
        (
            "cross_entropy",
            [
                -0.64 * np.log2(0.36) - 0.36 * np.log2(0.64),
                -0.9 * np.log2(0.9) - 0.1 * np.log2(0.1),
                -0.2 * np.log2(0.1) - 0.8 * np.log2(0.9),
            ],
        ),
    ],
)
def test_a_map_by_hand(measure, expected):
    assert crank_map(U, P, measure=measure)[0] == pytest.approx(np.array(expected))
    assert crank_mean(U, P, measure=measure) == pytest.approx(np.mean(expected[:2]))


def test_the_mask_is_either_foreground():
    assert crank_mask(U, P).tolist() == [[True, True, False]]
    assert crank_hamming(U, P).tolist() == [0.5]


@pytest.mark.parametrize("measure", MEASURES)
def test_equal_predictions_are_best(measure):
    same = np.round(np.random.default_rng(0).random((2, 9)))
    other = np.random.default_rng(1).random((2, 9))
    assert crank_score(same, same, measure=measure) > crank_score(same, other, measure=measure)


@pytest.mark.parametrize("measure", MEASURES)
def test_without_foreground_it_is_undefined(measure):
    with pytest.warns(UserWarning, match="neither prediction has foreground"):
        assert np.isnan(crank_score(np.zeros((2, 3)), np.zeros((2, 3)), measure=measure))


@pytest.mark.parametrize("measure", ["kl_divergence", "cross_entropy"])
def test_certain_and_wrong_is_finite(measure):
    assert np.isfinite(crank_score(np.array([[1.0]]), np.array([[0.0]]), measure=measure))


def statistics(folder, probabilities):
    """What a pass keeps of foreground probabilities (b, n): one case a row."""
    stored = StoredSoftmax(2, first=1, folder=folder)
    for case, row in enumerate(probabilities):
        softmax = torch.as_tensor(np.stack([1 - row, row], axis=1)).float()
        labels = torch.zeros(len(row), dtype=torch.uint8)
        stored.begin(f"case_{case}", labels)
        stored.update(_Window(softmax, labels))
        stored.end(f"case_{case}")
    return Statistics({SoftmaxRequest(first=1): stored}, k=2, z=2, taps=("up",), cases=stored.cases)


class _Window:
    def __init__(self, softmax, labels):
        self.softmax, self.labels = softmax, labels

    def predictions(self):
        yield self.softmax, self.labels


@pytest.mark.parametrize("measure", MEASURES)
def test_the_metric_is_the_score_of_all_voxels(tmp_path, measure):
    draw = np.random.default_rng(2)
    u, p = draw.random((3, 40)), draw.random((3, 40))
    metric = CRank(measure=measure)
    one, two = statistics(tmp_path / "one", u), statistics(tmp_path / "two", p)
    assert metric.compute(one).reason == "needs a pass over perturbed images"
    # the softmax is kept in half precision
    assert metric.compute(one, perturbed=two).value == pytest.approx(crank_score(u, p, measure=measure), rel=5e-3)


def test_passes_over_other_cases_are_an_error(tmp_path):
    one, two = statistics(tmp_path / "one", np.ones((2, 3))), statistics(tmp_path / "two", np.ones((1, 3)))
    with pytest.raises(ValueError, match="`perturbed` must have the cases"):
        CRank().compute(one, perturbed=two)


def test_wrong_arguments_are_named():
    with pytest.raises(
        ValueError, match=r"`perturbed` must have the shape \(b, ...\) of `unperturbed` \(1, 3\), got \(1, 2\)"
    ):
        crank_score(U, P[:, :2])
    with pytest.raises(ValueError, match=r"`unperturbed` must lie in \[0, 1\], got 0.4 .. 1.8"):
        crank_score(2 * U, P)
    with pytest.raises(ValueError, match="`measure` must be one of difference"):
        crank_map(U, P, measure="hamming")
