"""JointHistogram: rows from arrays and from windows, merged, saved."""

import pytest
import torch

from benchmark.statistics import JointHistogram, JointRequest, PassContext


def assert_same(ours, theirs):
    torch.testing.assert_close(ours.soft, theirs.soft)
    assert torch.equal(ours.hard, theirs.hard)
    assert torch.equal(ours.count, theirs.count)


def test_windows_are_one_pass_over_the_voxels(make_volume):
    volume = make_volume("a", k=3, z=4)
    joint = JointRequest().start(PassContext(3, 4, ("x",), None))
    volume.feed(joint)
    softmax = volume.all_logits.softmax(dim=0).flatten(1).T
    assert_same(joint, JointHistogram.from_samples(softmax.numpy(), volume.labels.flatten().numpy(), 3))
    assert (joint.k, joint.z, joint.n) == (3, 4, volume.labels.numel())


def test_merged_it_is_one_pass(make_volume):
    parts = [make_volume(name, seed=seed) for seed, name in enumerate("abc")]
    whole, merged = JointHistogram(3, 2), JointHistogram(3, 2)
    for volume in parts:
        volume.feed(whole)
        one = JointHistogram(3, 2)
        volume.feed(one)
        merged = one.merge(merged)
    assert_same(merged, whole)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="`other` must have z 2, got 4"):
        JointHistogram(3, 2).merge(JointHistogram(3, 4))


def test_saved_and_loaded_it_is_the_same(tmp_path, make_volume):
    joint = JointHistogram(3, 2)
    make_volume("a").feed(joint)
    joint.save(tmp_path)
    assert_same(JointHistogram.load(tmp_path), joint)
