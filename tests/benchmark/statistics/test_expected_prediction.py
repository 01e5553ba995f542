"""ExpectedPrediction: what LEEP and IoU-EEP need of the second look, split over windows, cases and files."""

import pytest
import torch

from baselines import leep_score
from benchmark.core.labels import IGNORED
from benchmark.statistics import ExpectedPrediction, ExpectedPredictionRequest, PassContext

REQUEST = ExpectedPredictionRequest((2, 0), ((0.75, 0.25, 0.5), (0.25, 0.75, 0.5)))

# torch rounds exp otherwise in vectors than at their ends, which depend on the cut into windows
SOFTMAX = 1e-7


def start():
    return REQUEST.start(PassContext(3, 3, ("x",), None))


@pytest.fixture
def volumes(make_volume):
    volumes = [make_volume(name, seed=seed, z=3) for seed, name in enumerate("ab")]
    volumes[0].labels[0, 0] = IGNORED
    return volumes


def test_sums_are_those_of_the_formula(volumes):
    sums = start()
    for volume in volumes:
        volume.feed(sums)
    softmax = torch.cat([volume.all_logits.softmax(dim=0).flatten(1).T for volume in volumes]).double()
    labels = torch.cat([volume.labels.flatten() for volume in volumes])
    expected = softmax @ torch.tensor(REQUEST.conditional, dtype=torch.float64).T
    for place, label in enumerate(REQUEST.classes):
        rows = expected[labels == label]
        assert int(sums.count[place]) == len(rows)
        assert float(sums.log_sum[place]) == pytest.approx(float(rows[:, place].log().sum()), rel=SOFTMAX)
        assert sums.confusion[place].tolist() == torch.bincount(rows.argmax(dim=1), minlength=2).tolist()


def test_merged_saved_and_loaded_it_is_one_pass(volumes, tmp_path):
    whole, one, two = start(), start(), start()
    for volume, part in zip(volumes, (one, two), strict=True):
        volume.feed(whole)
        volume.feed(part, order=-1, edges=(2,))
    one.merge(two).save(tmp_path)
    loaded = ExpectedPrediction.load(tmp_path)
    assert torch.equal(loaded.count, whole.count)
    assert torch.equal(loaded.confusion, whole.confusion)
    torch.testing.assert_close(loaded.log_sum, whole.log_sum, rtol=SOFTMAX, atol=0)
    assert ExpectedPredictionRequest(loaded.classes, loaded.conditional) == REQUEST
    with pytest.raises(ValueError, match="`other` must have classes"):
        one.merge(ExpectedPrediction((0, 2), REQUEST.conditional))


def test_a_probability_of_zero_is_floored():
    sums = ExpectedPrediction((0, 1), ((1.0, 0.0), (0.0, 1.0)))
    sums.add(torch.tensor([[0.0, 1.0]]), torch.tensor([0]))
    assert torch.isfinite(sums.log_sum).all()
    assert float(sums.log_sum[0]) < -700
    assert leep_score(torch.eye(2), torch.tensor([0, 1])) == 0
