"""SoftmaxSample: a share of each class's voxels, whether they come from windows or from stored softmax."""

import math

import pytest
import torch

from benchmark.statistics import PassContext, SoftmaxSample, SoftmaxSampleRequest
from benchmark.statistics.softmax import SoftmaxRows

RATES = (0.25, 1.0, 0.0)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)  # torch rounds exp otherwise in vectors


def of_windows(*volumes):
    sample = SoftmaxSampleRequest(RATES).start(PassContext(3, 2, ("x",), None))
    for volume in volumes:
        volume.feed(sample)
    return sample


def test_each_class_has_its_share_and_its_own_rows(make_volume):
    volume = make_volume("a")
    (block,) = of_windows(volume).rows()
    sizes = torch.bincount(volume.labels.flatten().long())
    assert torch.bincount(block.labels, minlength=3).tolist() == [math.ceil(sizes[0] * 0.25), int(sizes[1]), 0]
    rows = volume.all_logits.softmax(dim=0).flatten(1).T
    own = rows[volume.labels.flatten() == 1]
    close(block.softmax[block.labels == 1].sort(dim=0).values, own.sort(dim=0).values)


def test_a_case_with_few_voxels_of_a_class_keeps_one():
    rows = SoftmaxRows("a", torch.eye(4), torch.tensor([0, 1, 1, 0]))
    (block,) = SoftmaxSample.of_rows((1.0, 0.01), "a", [rows]).rows()
    assert block.labels.tolist() == [0, 0, 1]


def test_windows_and_stored_rows_give_one_sample(make_volume):
    volume = make_volume("a")
    rows = volume.all_logits.softmax(dim=0).flatten(1).T
    labels = volume.labels.flatten().long()
    halves = [SoftmaxRows("a", rows[part], labels[part]) for part in (slice(0, 77), slice(77, None))]
    (ours,), (theirs,) = of_windows(volume).rows(), SoftmaxSample.of_rows(RATES, "a", halves).rows()
    for label in range(2):
        close(ours.softmax[ours.labels == label], theirs.softmax[theirs.labels == label])


def test_merged_saved_and_loaded_it_is_the_same(make_volume, tmp_path):
    one, two = of_windows(make_volume("a")), of_windows(make_volume("b", seed=1))
    none = SoftmaxSample.of_rows(RATES, "c", [])
    two.merge(none).merge(one).save(tmp_path)
    loaded = SoftmaxSample.load(tmp_path)
    assert loaded.cases == ("a", "b", "c")
    assert [block.case for block in loaded.rows()] == ["a", "b"]
    for case, sample in (("a", one), ("b", two)):
        assert torch.equal(next(loaded.rows(case)).softmax, next(sample.rows(case)).softmax)
    with pytest.raises(ValueError, match=r"`other` must not share cases, got \['a'\] in both"):
        one.merge(one)
