"""StageSample: the voxels of a point sample, with the features of every stage in its own columns."""

import pytest
import torch

from benchmark.statistics import BalancedPointsRequest, PassContext, StagePointsRequest, StageSample

STAGES = {"encoder": {"fine": 4, "coarse": 4}, "decoder": {"up": 4}}


def start(*, class_count=20, stages=STAGES, **absent):
    return StagePointsRequest(class_count=class_count).start(PassContext(3, 2, ("x",), None, **stages, **absent))


def test_each_stage_has_its_own_features_at_the_voxels_of_a_point_sample(make_volume):
    sample, points = start(), BalancedPointsRequest(count=60).start(PassContext(3, 2, ("x",), None))
    for seed, name in enumerate("ab"):
        make_volume(name, seed=seed).feed(sample)
        make_volume(name, seed=seed).feed(points)
    assert torch.equal(sample.table.positions, points.table.positions)
    assert torch.equal(sample.boundary, points.boundary)
    for times, name in enumerate(("fine", "coarse", "up"), 1):
        expected = torch.stack([
            times * make_volume("ab"[case], seed=case).features[(slice(None), *position)]
            for case, position in zip(sample.table.cases.tolist(), sample.table.positions.tolist(), strict=True)
        ])  # fmt: skip
        assert torch.equal(sample.stage(name), expected)


def test_merges_and_files_keep_the_stages(make_volume, tmp_path):
    whole, part, rest = start(), start(), start()
    for seed, name in enumerate("ab"):
        make_volume(name, seed=seed).feed(whole)
        make_volume(name, seed=seed).feed(rest if seed else part)
    merged = part.merge(rest)
    merged.save(tmp_path)
    loaded = StageSample.load(tmp_path)
    assert (loaded.encoder, loaded.decoder, loaded.cases) == (whole.encoder, whole.decoder, ("a", "b"))
    assert all(torch.equal(loaded.stage(name), whole.stage(name)) for name in ("fine", "coarse", "up"))
    with pytest.raises(ValueError, match="`other` must have absent , got it is flat"):
        whole.merge(start(absent="it is flat"))


def test_without_stages_the_voxels_and_the_reason_are_kept(make_volume, tmp_path):
    sample = start(stages={}, absent="it is flat")
    make_volume("a").feed(sample)
    sample.save(tmp_path)
    loaded = StageSample.load(tmp_path)
    assert loaded.features.shape == (60, 0)
    assert loaded.absent == "it is flat"


@pytest.mark.parametrize(("k", "quota"), [(3, 800), (5, 800), (6, 666), (104, 38), (5000, 1)])
def test_all_classes_together_have_at_most_4000_voxels(k, quota):
    assert StagePointsRequest().start(PassContext(k, 2, ("x",), None)).quota == quota


def test_a_wrong_count_is_named():
    with pytest.raises(ValueError, match="`class_count` must be positive, got 0"):
        StagePointsRequest(class_count=0)
