"""Class moments against their definition, in float64 with the rows at hand."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from benchmark.core.moments import Moments, class_moments, merge_moments, reference

FIELDS = ("count", "mean", "scatter", "cubes", "quartics")
# Sums of some hundred float64 terms in another order
ROUNDING = 1e-12
# Cubes cancel: their error stands against sum |u|^3, not against their own size
CANCELLING = 1e-10


def definition(features, labels, k):
    """The five fields written out, one class after the other."""
    fields = []
    for label in range(k):
        x = features[labels == label].double()
        mean = x.mean(dim=0) if len(x) else torch.zeros(x.shape[1], dtype=torch.float64)
        u = x - mean
        square = (u * u).sum(dim=1)
        fields.append((torch.tensor(len(x)), mean, u.T @ u, (square[:, None] * u).sum(dim=0), (square**2).sum()))
    return Moments(*(torch.stack(field) for field in zip(*fields, strict=True)))


def assert_same(ours, theirs, *, tolerance=ROUNDING):
    assert torch.equal(ours.count, theirs.count)
    for name in FIELDS[1:]:
        a, b = getattr(ours, name), getattr(theirs, name)
        size = b.abs().max().clamp(min=1e-300)
        if name == "cubes":  # sum |u|^3 <= sqrt(sum |u|^2 sum |u|^4)
            size = (theirs.quartics * theirs.scatter.diagonal(dim1=1, dim2=2).sum(1)).max().sqrt().clamp(min=1e-300)
        assert (a - b).abs().max() <= tolerance * size, name


def draw(n, d, k, *, seed=0, scale=1.0, offset=0.0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, d, generator=generator, dtype=torch.float64) * scale + offset
    return features.to(dtype), torch.randint(0, k, (n,), generator=generator)


@pytest.mark.parametrize(
    ("n", "d", "k"), [(200, 5, 3), (7, 1, 2), (2, 9, 3), (1, 4, 1), (0, 4, 2), (3, 17, 5), (8200, 3, 2)]
)
def test_equals_the_definition(n, d, k):
    features, labels = draw(n, d, k)
    assert_same(class_moments(features, labels, k), definition(features, labels, k), tolerance=CANCELLING)


@pytest.mark.parametrize("block", [1, 3, 64])
def test_the_block_does_not_matter(monkeypatch, block):
    features, labels = draw(150, 4, 3)
    whole = class_moments(features, labels, 3)
    monkeypatch.setattr(reference, "BLOCK_ROWS", block)
    assert_same(class_moments(features, labels, 3), whole, tolerance=CANCELLING)


def test_an_offset_costs_no_digits():
    # A shift that float64 holds exactly leaves every centred moment as it is.
    features, labels = draw(5000, 6, 3, dtype=torch.float64)
    features = (features * 1024).round() / 1024
    plain, shifted = class_moments(features, labels, 3), class_moments(features + 1000, labels, 3)
    assert_same(Moments(shifted.count, plain.mean, shifted.scatter, shifted.cubes, shifted.quartics), plain)
    torch.testing.assert_close(shifted.mean, plain.mean + 1000, rtol=1e-14, atol=0)


def test_float32_rows_lose_nothing_beyond_their_own_rounding():
    features, labels = draw(20000, 4, 2, offset=1000.0)
    assert_same(class_moments(features, labels, 2), definition(features, labels, 2), tolerance=1e-11)


@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_moments_scale_by_their_order(scale):
    features, labels = draw(300, 4, 2, dtype=torch.float64)
    one, many = class_moments(features, labels, 2), class_moments(features * scale, labels, 2)
    grown = Moments(one.count, *(getattr(one, name) * scale**p for p, name in enumerate(FIELDS[1:], start=1)))
    assert_same(many, grown)


def test_strides_do_not_matter():
    features, labels = draw(500, 6, 3)
    maps = features.T.contiguous()
    every_other = torch.stack([features, features], dim=2).reshape(500, 12)[:, ::2]
    for view in (maps.T, every_other):
        assert_same(class_moments(view, labels, 3), class_moments(features, labels, 3), tolerance=CANCELLING)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_bad_channel_stays_in_its_channel(poison):
    features, labels = draw(60, 3, 2)
    clean = class_moments(features, labels, 2)
    features[labels == 1, 2] = poison
    moments = class_moments(features, labels, 2)
    assert torch.equal(moments.count, clean.count)
    assert torch.equal(moments.mean[:, :2], clean.mean[:, :2])
    assert torch.equal(moments.scatter[0], clean.scatter[0])
    torch.testing.assert_close(moments.scatter[1, :2, :2], clean.scatter[1, :2, :2])
    assert moments.scatter[1, 2].isnan().all()
    assert moments.quartics[1].isnan()


@given(data=st.data(), parts=st.integers(2, 5), k=st.integers(1, 4), d=st.integers(1, 4), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_split_anywhere_and_merged_in_any_order_it_is_one_pass(data, parts, k, d, seed):
    features, labels = draw(40, d, k, seed=seed, offset=seed, dtype=torch.float64)
    cuts = sorted(data.draw(st.lists(st.integers(0, 40), min_size=parts - 1, max_size=parts - 1)))
    pieces = [slice(a, b) for a, b in zip([0, *cuts], [*cuts, 40], strict=True)]
    moments = [class_moments(features[piece], labels[piece], k) for piece in data.draw(st.permutations(pieces))]
    merged = moments[0]
    for more in moments[1:]:
        merged = merge_moments(merged, more)
    assert_same(merged, class_moments(features, labels, k), tolerance=CANCELLING)


def test_merging_commutes():
    a, b = (class_moments(*draw(50, 3, 2, seed=seed), 2) for seed in (1, 2))
    assert_same(merge_moments(a, b), merge_moments(b, a))


@pytest.mark.parametrize(
    ("features", "text"),
    [
        (torch.zeros(3), r"`features` must be floating point of shape \(n, d\), got torch.float32 \(3,\)"),
        (torch.zeros(3, 2, dtype=torch.int64), r"`features` must be floating point"),
    ],
)
def test_a_wrong_shape_is_named(features, text):
    with pytest.raises(ValueError, match=text):
        class_moments(features, torch.zeros(3, dtype=torch.int64), 1)


def test_merging_different_shapes_is_refused():
    a, b = (class_moments(*draw(5, d, 2), 2) for d in (2, 3))
    with pytest.raises(ValueError, match=r"`b` must have the \(k, d\) of `a`, \(2, 2\), got \(2, 3\)"):
        merge_moments(a, b)
