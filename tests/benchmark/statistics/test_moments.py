"""ClassMoments: rows from arrays and from windows, merged, pooled, saved."""

import numpy as np
import pytest
import torch

from benchmark.statistics import ClassMoments, ClassMomentsRequest, PassContext

FIELDS = ("count", "mean", "scatter", "cubes", "quartics")


def assert_same(ours, theirs, **tolerance):
    for name in FIELDS:
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), **tolerance)


def draw(n=90, d=3, k=3, *, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, d)) + 5, random.integers(0, k, size=n)


@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor])
def test_arrays_of_either_library(convert):
    features, labels = draw()
    moments = ClassMoments.from_samples(convert(features), convert(labels), 3)
    assert (moments.k, moments.d, moments.n) == (3, 3, 90)
    for label in range(3):
        x = features[labels == label]
        np.testing.assert_allclose(moments.mean[label], x.mean(axis=0))
        np.testing.assert_allclose(moments.scatter[label], np.cov(x, rowvar=False) * (len(x) - 1))


def test_integer_features_are_numbers():
    moments = ClassMoments.from_samples(np.array([[1], [2]]), np.array([0, 0]), 1)
    assert moments.mean.item() == 1.5


def test_windows_are_one_pass_over_the_voxels(make_volume):
    volume = make_volume("a")
    moments = ClassMomentsRequest(layer=-2).start(PassContext(3, 2, ("x", "y"), None))
    volume.feed(moments)
    assert_same(moments, ClassMoments.from_samples(2 * volume.rows, volume.labels.flatten(), 3))


def test_total_is_the_moments_without_labels():
    features, labels = draw()
    total = ClassMoments.from_samples(features, labels, 4).total()
    assert_same(total, ClassMoments.from_samples(features, np.zeros(90, dtype=int), 1), rtol=1e-10, atol=1e-9)


def test_merging_with_nothing_changes_nothing():
    full, empty = ClassMoments.from_samples(*draw(), 3), ClassMoments(3)
    assert_same(full.merge(empty), full)
    assert_same(empty.merge(full), full)
    assert empty.merge(empty).n == 0


def test_merging_leaves_both_as_they_were():
    a, b = (ClassMoments.from_samples(*draw(seed=seed), 3) for seed in (0, 1))
    before = a.mean.clone()
    merged = a.merge(b)
    assert torch.equal(a.mean, before)
    assert merged.n == a.n + b.n


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="must have the"):
        ClassMoments.from_samples(*draw(d=3), 3).merge(ClassMoments.from_samples(*draw(d=2), 3))


def test_saved_and_loaded_it_is_the_same(tmp_path):
    moments = ClassMoments(3, layer=-2)
    moments.add(*draw())
    moments.save(tmp_path)
    loaded = ClassMoments.load(tmp_path)
    assert loaded.layer == -2
    assert_same(loaded, moments, rtol=0, atol=0)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_rows(n):
    moments = ClassMoments.from_samples(np.ones((n, 2)), np.zeros(n, dtype=int), 2)
    assert moments.count.tolist() == [n, 0]
    assert moments.scatter.abs().sum() == 0
    assert moments.mean[0].tolist() == ([1.0, 1.0] if n else [0.0, 0.0])
