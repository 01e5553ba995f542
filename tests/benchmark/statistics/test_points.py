"""PointSample: class-balanced over all cases, whatever the order, the windows and the merges."""

import pytest
import torch

from benchmark.statistics import BalancedPointsRequest, PassContext, PointSample


def start(*, count=60, k=3, seed=0):
    return BalancedPointsRequest(count=count, seed=seed).start(PassContext(k, 2, ("x",), None))


def assert_same(ours, theirs):
    order = [sample.table.priorities.argsort() for sample in (ours, theirs)]
    for name in ("features", "labels", "logits", "boundary"):
        assert torch.equal(getattr(ours, name)[order[0]], getattr(theirs, name)[order[1]])


def test_classes_are_balanced_and_their_rows_their_own(make_volume):
    sample = start()
    volumes = [make_volume(name, seed=seed) for seed, name in enumerate("ab")]
    for volume in volumes:
        volume.feed(sample)
    assert torch.bincount(sample.labels).tolist() == [20, 20, 20]
    table = sample.table
    for i in range(60):
        volume = volumes[int(table.cases[i])]
        at = tuple(table.positions[i])
        assert volume.labels[at] == table.labels[i]
        assert torch.equal(volume.features[(slice(None), *at)], table.features[i])
        assert torch.equal(volume.all_logits[(slice(None), *at)], table.logits[i])


def test_both_cases_have_their_share(make_volume):
    sample = start(count=90)
    for seed, name in enumerate("ab"):
        make_volume(name, seed=seed).feed(sample)
    # 90 of 420 voxels, half of them in each case: standard deviation below 5
    assert 20 <= int((sample.table.cases == 0).sum()) <= 70


def test_a_rare_class_gives_all_that_it_has(make_volume):
    sample = start(count=3000)
    volume = make_volume("a")
    volume.feed(sample)
    assert torch.bincount(sample.labels).tolist() == torch.bincount(volume.labels.flatten().long()).tolist()


def test_windows_order_and_merges_do_not_matter(make_volume):
    volumes = [make_volume(name, seed=seed) for seed, name in enumerate("abcd")]
    whole, backwards, part, rest = (start() for _ in range(4))
    for volume in volumes:
        volume.feed(whole)
    for volume in volumes[::-1]:
        volume.feed(backwards, order=-1, edges=(2, 5))
    for volume in volumes[:2]:
        volume.feed(part)
    for volume in volumes[2:]:
        volume.feed(rest)
    assert_same(backwards, whole)
    assert_same(part.merge(rest), whole)
    assert_same(rest.merge(part), whole)


def test_its_size_does_not_grow_with_cases(make_volume):
    sample = start(count=30)
    for seed in range(6):
        make_volume(str(seed), seed=seed).feed(sample)
    assert len(sample.labels) == 30


def test_merging_with_nothing_changes_nothing(make_volume):
    sample, empty = start(), start()
    make_volume("a").feed(sample)
    assert_same(sample.merge(empty), sample)
    assert_same(empty.merge(sample), sample)


def test_saved_and_loaded_it_is_the_same(tmp_path, make_volume):
    sample = start()
    make_volume("a").feed(sample)
    sample.save(tmp_path)
    loaded = PointSample.load(tmp_path)
    assert_same(loaded, sample)
    assert loaded.cases == ("a",)
    loaded.merge(start())


def test_samples_are_all_kept():
    features, labels = torch.arange(8.0).reshape(4, 2), torch.tensor([2, 0, 2, 0])
    sample = PointSample.from_samples(features.numpy(), labels.numpy(), logits=torch.eye(4))
    assert sample.labels.tolist() == [0, 0, 2, 2]
    assert torch.equal(sample.features, features[[1, 3, 0, 2]])
    assert torch.equal(sample.logits, torch.eye(4)[[1, 3, 0, 2]])


def test_lengths_are_checked():
    with pytest.raises(ValueError, match="`features` and `logits` must have 3 rows, got 2 and 3"):
        PointSample.from_samples(torch.zeros(2, 2), torch.zeros(3, dtype=torch.int64))


def test_an_empty_sample_says_so():
    with pytest.raises(ValueError, match="the sample is empty"):
        _ = start().features


def test_a_case_counts_once(make_volume):
    sample = start()
    make_volume("a").feed(sample)
    with pytest.raises(ValueError, match="`case` must be new, got 'a' twice"):
        sample.begin("a", torch.zeros(2, 2, 2))
    with pytest.raises(ValueError, match=r"`other` must not share cases, got \['a'\] in both"):
        sample.merge(sample)
    with pytest.raises(ValueError, match="`other` must have seed 0, got 1"):
        sample.merge(start(seed=1))
