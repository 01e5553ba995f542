"""Estimates that read the softmax twice: a pass over stored softmax and plain samples give one score."""

import pytest
import torch

from baselines import LEEP, IoUEEP
from benchmark import JointHistogram
from benchmark.statistics import JointRequest, SoftmaxRequest, Statistics, StoredSoftmax


class _Window:
    """All voxels of a case of one row."""

    def __init__(self, softmax, labels):
        self.softmax, self.labels, self.start = softmax, labels, (0, 0, 0)


@pytest.mark.parametrize("metric", [LEEP(), IoUEEP(), LEEP(foreground=True), IoUEEP(balanced=True)])
def test_a_pass_and_plain_samples_give_one_score(tmp_path, predictions, metric):
    softmax, labels = torch.from_numpy(predictions[0]).float(), torch.from_numpy(predictions[1])
    stored, joint = StoredSoftmax(4, folder=tmp_path), JointHistogram(3, 4)
    for case, rows in (("one", slice(0, 25)), ("two", slice(25, None))):
        window = _Window(softmax[rows].T[:, None, None], labels[None, None, rows].to(torch.uint8))
        stored.begin(case, window.labels)
        for statistic in (stored, joint):
            statistic.update(window)
        stored.end(case)
    bag = Statistics({JointRequest(): joint, SoftmaxRequest(): stored}, k=3, z=4, taps=("up",), cases=stored.cases)
    metric.update(softmax, labels)
    # the second look is in half precision
    assert metric.compute(bag).value == pytest.approx(metric.compute().value, rel=1e-3)
