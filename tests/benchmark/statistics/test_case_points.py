"""CasePoints: what is sampled does not depend on windows, order or merges, and lies on disk."""

import pytest
import torch

from benchmark.statistics import CasePoints, CasePointsRequest, PassContext, ScenePointsRequest


def start(request, folder, *, k=3, taps=("x", "y")):
    return request.start(PassContext(k, 2, taps, folder))


def assert_same(ours, theirs):
    assert ours.cases == theirs.cases
    for layer in range(-ours.n_layers, 0):
        for a, b in zip(ours.scenes(layer), theirs.scenes(layer), strict=True):
            assert torch.equal(a, b)


def test_classes_have_their_own_features(tmp_path, make_volume):
    volume = make_volume("a")
    points = start(CasePointsRequest(counts=(5, 9)), tmp_path)
    volume.feed(points)
    for layer, count in ((-1, 9), (-2, 5)):
        (case,) = points.classes(layer)
        assert list(case) == [0, 1, 2]
        for label, rows in case.items():
            own = -layer * volume.rows[volume.labels.flatten() == label]
            assert rows.shape == (count, 4)
            assert all((own == row).all(dim=1).any() for row in rows)
        assert torch.equal(torch.cat(list(case.values())), points.scenes(layer)[0])


def test_coarse_points_are_among_the_fine(tmp_path, make_volume):
    points = start(CasePointsRequest(counts=(5, 9)), tmp_path)
    make_volume("a").feed(points)
    coarse, fine = points.classes(-2)[0][1], points.classes(-1)[0][1]
    assert torch.equal(coarse, 2 * fine[:5])


def test_a_class_that_a_case_lacks_is_empty(tmp_path, make_volume):
    points = start(CasePointsRequest(counts=(5, 9)), tmp_path, k=5)
    make_volume("a", k=2).feed(points)
    case = points.classes(-1)[0]
    assert [len(case[label]) for label in range(5)] == [9, 9, 0, 0, 0]
    assert case.get(7) is None


def test_points_in_proportion_are_nested_and_survive_windows_merges_and_files(tmp_path, make_volume):
    request = CasePointsRequest(counts=(5, 9), allocation="proportional")
    equal, whole, part, rest = (start(request, tmp_path / name, k=5) for name in ("equal", "whole", "part", "rest"))
    first, second = make_volume("a", k=5), make_volume("b", seed=1, k=5)
    first.labels.view(-1)[:] = torch.tensor([0] * 20 + [1] * 15 + [2] * 10 + [3] * 165)
    second.labels.view(-1)[:] = torch.tensor([0] * 209 + [2])
    for volume in (first, second):
        volume.feed(whole)
    first.feed(part, order=-1, edges=(1, 2, 5))
    second.feed(rest)
    merged = rest.merge(part)
    (tmp_path / "saved").mkdir()
    merged.save(tmp_path / "saved")
    loaded = CasePoints.load(tmp_path / "saved")
    assert (loaded.allocation, loaded.counts) == ("proportional", (5, 9))
    assert_same(merged, whole)
    assert_same(loaded, whole)
    a, b = loaded.classes(-1)
    assert [len(a[label]) for label in range(5)] == [9, 2, 2, 23, 0]  # of 3 x 9: 2.1, 1.4 (at least 2) and 23.4
    assert [len(b[label]) for label in range(5)] == [9, 0, 1, 0, 0]  # all that it has
    coarse = loaded.classes(-2)[0]
    assert [len(coarse[label]) for label in range(5)] == [5, 2, 2, 13, 0]
    assert all(torch.equal(coarse[label], 2 * a[label][: len(coarse[label])]) for label in range(5))
    with pytest.raises(ValueError, match="`other` must have allocation proportional, got equal"):
        equal.merge(start(CasePointsRequest(counts=(5, 9)), tmp_path, k=5))


def test_the_whole_image_is_sampled_without_regard_to_class(tmp_path, make_volume):
    points = start(ScenePointsRequest(count=1000), tmp_path)
    volume = make_volume("a")
    volume.feed(points)
    assert points.n_layers == 2
    assert points.scenes(-1)[0].shape == (volume.labels.numel(), 4)
    torch.testing.assert_close(points.scenes(-1)[0].sum(dim=0), volume.rows.sum(dim=0), rtol=1e-4, atol=1e-4)


def test_fewer_taps_use_the_last_counts(tmp_path):
    assert start(CasePointsRequest(counts=(1, 2, 3)), tmp_path, taps=("x", "y")).counts == (2, 3)
    assert start(CasePointsRequest(counts=(1, 2)), tmp_path, taps=("w", "x", "y")).counts == (1, 2)


def test_windows_order_and_merges_do_not_matter(tmp_path, make_volume):
    request = CasePointsRequest(counts=(4, 6))
    volumes = [make_volume(name, seed=seed) for seed, name in enumerate("abc")]
    whole, backwards, part, rest = (start(request, tmp_path / name) for name in ("whole", "back", "part", "rest"))
    for volume in volumes:
        volume.feed(whole)
    for volume in volumes[::-1]:
        volume.feed(backwards, order=-1, edges=(1, 2, 5))
    volumes[1].feed(part)
    volumes[2].feed(rest)
    volumes[0].feed(rest)
    assert_same(backwards, whole)
    assert_same(part.merge(rest), whole)
    assert_same(rest.merge(part), whole)


def test_saved_and_loaded_it_is_the_same(tmp_path, make_volume):
    points = start(CasePointsRequest(counts=(4, 6)), tmp_path / "spilled")
    for name in ("a", "b/../c"):
        make_volume(name).feed(points)
    (tmp_path / "saved").mkdir()
    points.save(tmp_path / "saved")
    assert_same(CasePoints.load(tmp_path / "saved"), points)


def test_a_case_counts_once(tmp_path, make_volume):
    points, other = (start(CasePointsRequest(), tmp_path / name) for name in "xy")
    for statistic in (points, other):
        make_volume("a").feed(statistic)
    with pytest.raises(ValueError, match="`case` must be new, got 'a' twice"):
        points.begin("a", torch.zeros(2, 2, 2))
    with pytest.raises(ValueError, match=r"`other` must not share cases, got \['a'\] in both"):
        points.merge(other)


def test_otherwise_sampled_points_do_not_merge(tmp_path):
    with pytest.raises(ValueError, match="`other` must have seed 0, got 1"):
        start(CasePointsRequest(seed=0), tmp_path).merge(start(CasePointsRequest(seed=1), tmp_path))


def test_a_voxel_without_a_window_is_an_error(tmp_path, make_volume):
    volume = make_volume("a")
    points = start(CasePointsRequest(), tmp_path)
    points.begin("a", volume.labels)
    points.update(volume.windows()[0])
    with pytest.raises(RuntimeError, match=r"case 'a': [0-9]+ sampled voxels were covered by no window"):
        points.end("a")


@pytest.mark.parametrize("counts", [(), (0,), (5, -1)])
def test_counts_are_checked(counts):
    with pytest.raises(ValueError, match="`counts` must be positive"):
        CasePointsRequest(counts=counts)


def test_the_allocation_is_checked():
    with pytest.raises(ValueError, match='`allocation` must be "equal" or "proportional", got \'even\''):
        CasePointsRequest(allocation="even")
