"""The joint of predictions and labels as the LEEP family reads it, from arrays and from a pass."""

import numpy as np
import pytest
import torch

from baselines import LEEP, IoUEEP
from baselines.inputs.arrays import read_softmax
from baselines.inputs.predictions import joint_mass, read_joint
from benchmark import JointHistogram
from benchmark.statistics import JointRequest, SoftmaxRequest, Statistics, StoredSoftmax


@pytest.mark.parametrize("hard", [False, True])
def test_samples_and_histogram_are_one(predictions, hard):
    softmax, labels = predictions
    histogram = JointHistogram.from_samples(softmax, labels, 3)
    mass = joint_mass(read_softmax(softmax, labels), hard=hard)
    assert mass == pytest.approx((histogram.hard if hard else histogram.soft).numpy())


def test_it_sums_to_1_and_its_rows_to_the_shares(predictions):
    joint = read_joint(joint_mass(read_softmax(*predictions)))
    assert joint.joint.sum() == pytest.approx(1)
    assert joint.joint.sum(axis=1) == pytest.approx(joint.weight)
    assert joint.weight == pytest.approx([30 / 60, 20 / 60, 10 / 60])


def test_the_conditional_sums_to_1_where_there_is_probability():
    joint = read_joint(np.array([[2.0, 0.0, 1.0], [2.0, 0.0, 0.0]]))
    assert joint.conditional().sum(axis=0).tolist() == [1, 0, 1]


def test_absent_classes_are_said():
    joint = read_joint(np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]))
    assert joint.classes.tolist() == [0, 2]
    assert joint.note == "classes without samples left out: [1]"


@pytest.mark.parametrize(
    ("mass", "reason"),
    [
        (np.zeros((2, 3)), "no samples"),
        (np.array([[0.0, 0.0], [1.0, 2.0]]), "only class 1 has samples: a score needs two classes"),
        (np.array([[np.nan, 1.0], [np.nan, 2.0]]), "1 of 2 source classes hold NaN or inf"),
    ],
)
def test_what_allows_no_estimate_is_said(mass, reason):
    assert read_joint(mass).undefined == reason


class _Window:
    """All voxels of a case."""

    def __init__(self, softmax, labels):
        self.softmax, self.labels = softmax, labels

    def predictions(self):
        yield self.softmax, self.labels


@pytest.mark.parametrize("metric", [LEEP(), IoUEEP(), LEEP(foreground=True), IoUEEP(balanced=True)])
def test_a_pass_and_plain_samples_give_one_score(tmp_path, predictions, metric):
    softmax, labels = torch.from_numpy(predictions[0]).float(), torch.from_numpy(predictions[1])
    stored, joint = StoredSoftmax(4, folder=tmp_path), JointHistogram(3, 4)
    for case, rows in (("one", slice(0, 25)), ("two", slice(25, None))):
        window = _Window(softmax[rows], labels[rows])
        stored.begin(case, window.labels)
        for statistic in (stored, joint):
            statistic.update(window)
        stored.end(case)
    both = Statistics({JointRequest(): joint, SoftmaxRequest(): stored}, k=3, z=4, taps=("up",), cases=stored.cases)
    metric.update(softmax, labels)
    # the second look is in half precision
    assert metric.compute(both).value == pytest.approx(metric.compute().value, rel=1e-3)
