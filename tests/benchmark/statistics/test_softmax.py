"""StoredSoftmax: every voxel once, to float16, from disk."""

import pytest
import torch

from benchmark.statistics import (
    ClassMomentsRequest,
    JointRequest,
    PassContext,
    SoftmaxRequest,
    StoredSoftmax,
    answerable,
)
from benchmark.statistics import softmax as module

# Half the spacing of float16 below 1
FLOAT16 = 2**-11


def start(folder):
    return SoftmaxRequest().start(PassContext(3, 2, ("x",), folder))


def read(stored, case=None):
    blocks = list(stored.rows(case))
    return torch.cat([block.softmax for block in blocks]), torch.cat([block.labels for block in blocks])


def test_every_voxel_is_read_again(tmp_path, make_volume, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_VALUES", 100)
    stored = start(tmp_path)
    volumes = [make_volume(name, seed=seed) for seed, name in enumerate("ab")]
    for volume in volumes[::-1]:
        volume.feed(stored)
    softmax, labels = read(stored)
    expected = torch.cat([volume.all_logits.softmax(dim=0).flatten(1).T for volume in volumes])
    torch.testing.assert_close(softmax, expected, rtol=0, atol=FLOAT16)
    torch.testing.assert_close(softmax.sum(dim=1), torch.ones(len(softmax)))
    assert torch.equal(labels, torch.cat([volume.labels.flatten().long() for volume in volumes]))
    assert {block.case for block in stored.rows()} == {"a", "b"}
    assert torch.equal(read(stored, "b")[1], volumes[1].labels.flatten().long())


def test_merged_and_saved_it_is_the_same(tmp_path, make_volume):
    one, two = start(tmp_path / "one"), start(tmp_path / "two")
    make_volume("a").feed(one)
    make_volume("b", seed=1).feed(two)
    (tmp_path / "saved").mkdir()
    two.merge(one).save(tmp_path / "saved")
    loaded = StoredSoftmax.load(tmp_path / "saved")
    assert loaded.cases == ("a", "b")
    assert torch.equal(read(loaded, "a")[0], read(one)[0])
    assert torch.equal(read(loaded, "b")[0], read(two)[0])


def test_a_case_counts_once(tmp_path, make_volume):
    stored = start(tmp_path)
    make_volume("a").feed(stored)
    with pytest.raises(ValueError, match="`case` must be new, got 'a' twice"):
        stored.begin("a", torch.zeros(2, 2, 2))
    with pytest.raises(ValueError, match=r"`other` must not share cases, got \['a'\] in both"):
        stored.merge(stored)
    with pytest.raises(ValueError, match="`other` must have z 2, got 3"):
        stored.merge(StoredSoftmax(3, folder=tmp_path))


def test_leading_classes_can_be_stored_alone(tmp_path, make_volume):
    stored = SoftmaxRequest(first=1).start(PassContext(3, 2, ("x",), tmp_path))
    volume = make_volume("a")
    volume.feed(stored)
    softmax, _ = read(stored)
    torch.testing.assert_close(softmax, volume.all_logits.softmax(dim=0)[:1].flatten(1).T, rtol=0, atol=FLOAT16)
    assert (tmp_path / "a.softmax").stat().st_size == 2 * volume.labels.numel()


def test_a_pass_of_many_source_classes_does_not_store_it():
    requests = [JointRequest(), SoftmaxRequest(), SoftmaxRequest(first=1), ClassMomentsRequest()]
    assert answerable(requests, module.KEPT_CLASSES) == requests
    assert answerable(requests, module.KEPT_CLASSES + 1) == [requests[0], *requests[2:]]
    assert answerable(requests, 0) == requests[3:]
