"""Statistics: the statistics is keyed by request, merges as its statistics do, and is written whole or not at all."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from benchmark.statistics import (
    BalancedPointsRequest,
    CasePointsRequest,
    ClassMoments,
    ClassMomentsRequest,
    JointRequest,
    PassContext,
    Request,
    ScenePointsRequest,
    SoftmaxRequest,
    Statistics,
)
from benchmark.statistics.collection import start, stem

ALL = (
    ClassMomentsRequest(),
    JointRequest(),
    CasePointsRequest(counts=(3, 5)),
    ScenePointsRequest(count=10),
    BalancedPointsRequest(count=12),
    SoftmaxRequest(),
)


def feed(volumes, folder, requests=ALL):
    entries = start(requests, PassContext(3, 2, ("x", "y"), folder))
    for volume in volumes:
        for statistic in entries.values():
            volume.feed(statistic)
    return Statistics(entries, k=3, z=2, taps=("x", "y"), cases=tuple(volume.name for volume in volumes))


def test_equal_requests_are_started_once(tmp_path):
    requests = [ClassMomentsRequest(), ClassMomentsRequest(layer=-1), ClassMomentsRequest(layer=-2)]
    assert list(start(requests, PassContext(2, 2, ("x",), tmp_path))) == [requests[0], requests[2]]


def test_what_is_not_a_request_is_named(tmp_path):
    with pytest.raises(TypeError, match="`requests` must be requests for statistics, got 'moments'"):
        start(["moments"], PassContext(2, 2, ("x",), tmp_path))


@pytest.mark.parametrize("request_", ALL, ids=lambda request: type(request).__name__)
def test_every_request_is_one(request_):
    assert isinstance(request_, Request)
    assert hash(request_) == hash(type(request_)(**vars(request_)))
    assert stem(request_) == stem(type(request_)(**vars(request_)))


def test_a_missing_statistic_is_named(tmp_path):
    statistics = feed([], tmp_path, [JointRequest()])
    with pytest.raises(KeyError, match=r"ClassMomentsRequest\(layer=-1\) was not accumulated; available: JointRequest"):
        statistics[ClassMomentsRequest()]


def test_merged_it_is_one_pass(tmp_path, make_volume):
    volumes = [make_volume(name, seed=seed) for seed, name in enumerate("abc")]
    whole = feed(volumes, tmp_path / "whole")
    merged = feed(volumes[1:], tmp_path / "rest").merge(feed(volumes[:1], tmp_path / "first"))
    assert sorted(merged.cases) == ["a", "b", "c"]
    torch.testing.assert_close(merged[ALL[0]].scatter, whole[ALL[0]].scatter)
    torch.testing.assert_close(merged[ALL[1]].soft, whole[ALL[1]].soft)
    assert torch.equal(merged[ALL[2]].scenes(-1)[2], whole[ALL[2]].scenes(-1)[2])
    assert torch.equal(merged[ALL[4]].table.priorities, whole[ALL[4]].table.priorities)


def test_what_does_not_belong_together_is_refused(tmp_path, make_volume):
    statistics = feed([make_volume("a")], tmp_path)
    with pytest.raises(ValueError, match=r"`other` must not share cases, got \['a'\] in both"):
        statistics.merge(statistics)
    with pytest.raises(ValueError, match="`other` must have taps"):
        statistics.merge(Statistics({}, k=3, z=2, taps=("x",), cases=()))
    with pytest.raises(ValueError, match="`other` must have the same requests"):
        statistics.merge(Statistics({}, k=3, z=2, taps=("x", "y"), cases=()))


def test_saved_and_loaded_it_is_the_same(tmp_path, make_volume):
    statistics = feed([make_volume("a"), make_volume("b", seed=1)], tmp_path / "spilled")
    for _ in range(2):  # the second time over the first
        statistics.save(tmp_path / "saved")
    loaded = Statistics.load(tmp_path / "saved")
    assert set(loaded) == set(ALL)
    assert (loaded.k, loaded.z, loaded.taps, loaded.cases) == (3, 2, ("x", "y"), ("a", "b"))
    assert torch.equal(loaded[ALL[0]].scatter, statistics[ALL[0]].scatter)
    assert torch.equal(loaded[ALL[3]].scenes(-1)[1], statistics[ALL[3]].scenes(-1)[1])
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_some_can_be_left_out_and_some_read(tmp_path, make_volume):
    statistics = feed([make_volume("a")], tmp_path / "spilled")
    statistics.save(tmp_path / "saved", skip=[SoftmaxRequest()])
    assert SoftmaxRequest() not in Statistics.load(tmp_path / "saved")
    assert list(Statistics.load(tmp_path / "saved", [JointRequest()])) == [JointRequest()]
    with pytest.raises(KeyError, match="SoftmaxRequest"):
        Statistics.load(tmp_path / "saved", [SoftmaxRequest()])


def test_a_failed_save_leaves_the_old_one(tmp_path, make_volume, monkeypatch):
    statistics = feed([make_volume("a")], tmp_path / "spilled")
    statistics.save(tmp_path / "saved")

    def full(self, folder):
        raise OSError("no space left on device")

    monkeypatch.setattr(ClassMoments, "save", full)
    with pytest.raises(OSError, match="no space left"):
        statistics.save(tmp_path / "saved")
    assert Statistics.load(tmp_path / "saved")[ALL[0]].n == statistics[ALL[0]].n
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@dataclass(frozen=True)
class ForeignRequest:
    """Somebody else's request for a statistic of ours."""

    kind: ClassVar[type] = ClassMoments
    layer: int = -1

    def start(self, scene):
        return ClassMoments(scene.k, layer=self.layer)


def test_a_request_from_elsewhere_is_saved_and_loaded_by_name(tmp_path, make_volume):
    statistics = feed([make_volume("a")], tmp_path / "spilled", [ForeignRequest(), JointRequest()])
    statistics.save(tmp_path / "saved")
    assert list(Statistics.load(tmp_path / "saved")) == [JointRequest()]
    assert Statistics.load(tmp_path / "saved", [ForeignRequest()])[ForeignRequest()].n == statistics[ForeignRequest()].n
