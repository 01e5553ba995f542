"""Statistics of single cases on disk: the same as those of one stream, read only where whole, and bounded."""

import os
from functools import reduce

import pytest
import torch

from benchmark.features.stream import reduce_stream
from benchmark.statistics import (
    BalancedPointsRequest,
    CasePointsRequest,
    ClassMomentsRequest,
    JointRequest,
    SoftmaxRequest,
)
from benchmark.statistics.case_cache import MeasuredPass, entry_path, in_use, kept, trim
from benchmark.statistics.collection import stem

MOMENTS, JOINT, POINTS = ClassMomentsRequest(), JointRequest(), BalancedPointsRequest(count=90)
SOFTMAX, BY_CASE = SoftmaxRequest(), CasePointsRequest(counts=(20,))
REQUESTS = (MOMENTS, JOINT, POINTS, SOFTMAX, BY_CASE)
ROUNDING = 1e-12  # sums in float64 in another order
GIB = 2**30


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    """Passes cases through a small network."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Conv3d(1, 6, 3, padding=1), torch.nn.Tanh(), torch.nn.Conv3d(6, 3, 1))

    def run(cases, requests=REQUESTS):
        folder = tmp_path_factory.mktemp("spill")
        return reduce_stream(
            network, ["1"], cases, requests, patch_size=(12, 12, 12), overlap=0.0, classes=3, folder=folder
        )

    return run


@pytest.fixture
def filled(stream, cases, tmp_path):
    """A root with one folder of entries, from the least to the most recently used."""
    entries = []
    for at, case in enumerate(cases):
        entries.append(entry_path(tmp_path / "root" / "source", case.name, f"{at}" * 64))
        MeasuredPass(stream([case]), seconds=at + 1.0, peak_memory_mb=10.0).save(entries[-1])
        os.utime(entries[-1] / "statistics.json", (at, at))
    return tmp_path / "root", entries


def test_cases_from_the_disk_or_not_are_those_of_one_stream(stream, cases, filled):
    _, entries = filled
    whole = stream(cases)
    fresh = reduce(lambda a, b: a.merge(b), (stream([case]) for case in cases))
    read = reduce(lambda a, b: a.merge(b), (kept(entry, REQUESTS) for entry in entries))
    assert (read.read, read.seconds, read.read_seconds, read.peak_memory_mb) == (4, 10.0, 10.0, 10.0)
    assert read.statistics.cases == whole.cases
    assert read.statistics.windows == whole.windows
    for name in ("count", "mean", "scatter", "cubes", "quartics"):
        ours, others = getattr(read.statistics[MOMENTS], name), getattr(whole[MOMENTS], name)
        torch.testing.assert_close(ours, others, rtol=ROUNDING, atol=ROUNDING * float(others.abs().max()))
        assert torch.equal(ours, getattr(fresh[MOMENTS], name))
    torch.testing.assert_close(read.statistics[JOINT].soft, whole[JOINT].soft, rtol=ROUNDING, atol=0.0)
    for name, column in vars(whole[POINTS].table).items():
        assert torch.equal(getattr(read.statistics[POINTS].table, name), column), name
    for ours, others in zip(read.statistics[SOFTMAX].rows(), whole[SOFTMAX].rows(), strict=True):
        assert torch.equal(ours.softmax, others.softmax)
    for ours, others in zip(read.statistics[BY_CASE].classes(-1), whole[BY_CASE].classes(-1), strict=True):
        assert all(torch.equal(ours[label], others[label]) for label in others)


def test_another_digest_or_name_is_another_entry(tmp_path):
    names = {entry_path(tmp_path, name, digest) for name in ("a", "a/b", "x" * 300) for digest in ("0" * 64, "1" * 64)}
    assert len(names) == 6
    assert all(name.parent == tmp_path and len(name.name) < 150 for name in names)


@pytest.mark.parametrize("damage", ["cost", "moments", "manifest"])
def test_a_damaged_entry_counts_as_missing(filled, damage):
    _, (entry, *_) = filled
    path = {
        "cost": entry.with_name(f"{entry.name}.cost.json"),
        "moments": entry / stem(MOMENTS) / "moments.safetensors",
        "manifest": entry / "statistics.json",
    }[damage]
    path.write_bytes(path.read_bytes()[:20])
    assert kept(entry, REQUESTS) is None


def test_a_statistic_that_was_not_kept_counts_as_missing(filled):
    _, (entry, *_) = filled
    assert kept(entry, [MOMENTS]) is not None
    assert kept(entry, [ClassMomentsRequest(layer=-2)]) is None


def size(place):
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


def test_the_least_recently_used_softmax_goes_first_then_whole_entries(filled):
    root, entries = filled
    softmax = [size(entry / stem(SOFTMAX)) for entry in entries]
    sizes = [size(entry) for entry in entries]
    trim(root, keep_gib=(sum(sizes) - softmax[0] - softmax[1]) / GIB, every=0)
    assert [kept(entry, REQUESTS) is not None for entry in entries] == [False, False, True, True]
    assert all(kept(entry, [MOMENTS, POINTS]) for entry in entries)
    for at, entry in enumerate(entries[1:]):
        os.utime(entry / "statistics.json", (at, at))
    kept(entries[0], [MOMENTS])  # used last
    trim(root, keep_gib=(sizes[0] - softmax[0]) / GIB, every=0)
    assert [entry.is_dir() for entry in entries] == [True, False, False, False]
    assert kept(entries[0], [MOMENTS]) is not None
    assert len(list(root.glob("*/*.cost.json"))) == 1


def test_what_is_in_use_stays_and_a_recent_trim_is_enough(filled):
    root, entries = filled
    with in_use(entries[0].parent):
        trim(root, keep_gib=0, every=0)
        assert all(kept(entry, REQUESTS) for entry in entries)
    trim(root, keep_gib=0)
    assert all(entry.is_dir() for entry in entries)
    trim(root, keep_gib=0, every=0)
    assert not any(entry.is_dir() for entry in entries)


def test_what_a_killed_process_left_is_deleted(filled):
    root, entries = filled
    (entries[0].parent / ".spill-x").mkdir()
    trim(root, keep_gib=1, every=0)
    assert not (entries[0].parent / ".spill-x").exists()
    assert all(kept(entry, REQUESTS) for entry in entries)
