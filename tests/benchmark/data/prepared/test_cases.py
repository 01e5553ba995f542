"""Cases that are read when they are used, and which of them are kept in memory or on disk."""

import gc
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmark.data.files.cases import Case, CaseFiles
from benchmark.data.prepared.cases import Cases, StoredReader
from benchmark.data.prepared.request import CaseRequest
from benchmark.data.tasks.msd import MsdTask
from benchmark.errors import InputError
from benchmark.storage.prepared_settings import PreparedSettings, storing_prepared


def _requests(read, count):
    files = [CaseFiles(str(index), (Path("none"),), Path("none")) for index in range(count)]
    return [CaseRequest(case, read, {}, "benchmark.data.files.cases", 1, None) for case in files]


def _blank(*, label: int = 1) -> Case:
    return Case("x", torch.zeros(1, 2, 2, 2), torch.full((2, 2, 2), label, dtype=torch.uint8), (1.0, 1.0, 1.0))


@pytest.fixture
def stored(msd, tmp_path):
    with storing_prepared(PreparedSettings(tmp_path / "prepared")):
        yield MsdTask(msd, test_share=0).cases("train").prepare()


def test_going_through_keeps_no_case_and_indexing_keeps_some(msd):
    cases = MsdTask(msd, test_share=0).cases("train")
    gone_through = list(cases)
    assert len(gone_through) == len(cases) == 5
    assert cases[1] is not gone_through[1]
    assert cases[1] is cases[1]
    assert cases[-1].name == cases[4].name
    assert [case.name for case in cases[:2]] == ["spleen_0", "spleen_1"]
    tight = Cases(_requests(lambda files: replace(gone_through[int(files.name)]), 5), place="folder", memory_gib=0.0)
    first = tight[2]
    assert tight[2] is first  # a case above the limit is kept alone
    assert tight[3] is not first
    assert tight[2] is not first


def test_a_part_of_the_cases_is_read_as_it_is_gone_through():
    read = []
    whole = Cases(_requests(lambda files: read.append(int(files.name)) or _blank(), 5), place="folder")
    part = whole[1:4]
    assert (len(part), read) == (3, [])
    next(iter(part))
    assert read == [1]
    assert len(list(whole[:None])) == 5


@pytest.mark.parametrize("label", [0, 255])
def test_cases_without_foreground_are_refused(label):
    cases = Cases(_requests(lambda files: _blank(label=label), 3), place="folder")
    with pytest.raises(InputError, match=r"^folder has no foreground voxel in any case$"):
        list(cases)


def test_stored_cases_are_those_that_are_prepared_in_memory(msd, stored):
    for stored_case, case in zip(stored, MsdTask(msd, test_share=0).cases("train"), strict=True):
        assert torch.equal(stored_case.image, case.image)
        assert torch.equal(stored_case.labels, case.labels)
        assert (stored_case.name, stored_case.spacing) == (case.name, case.spacing)


def test_boxes_on_disk_are_those_in_memory(stored):
    reader, case = StoredReader(stored.store, stored.requests[2]), stored[2]
    box = (slice(1, 5), slice(0, 3), slice(2, 4))
    assert all(torch.equal(own, other) for own, other in zip(reader.read(box), case.read(box), strict=True))
    assert torch.equal(reader.read_image(box), case.read_image(box))
    assert (reader.shape, reader.counts) == (case.shape, case.counts)
    assert all((reader.voxels(label) == case.voxels(label)).all() for label in case.counts)


def test_a_reader_is_on_disk_only_for_stored_cases(msd, stored):
    assert isinstance(stored.reader(0), StoredReader)
    assert isinstance(MsdTask(msd, test_share=0).cases("train").reader(0), Case)


def test_some_cases_are_prepared_before_the_others(msd, tmp_path):
    with storing_prepared(PreparedSettings(tmp_path / "prepared")):
        cases = MsdTask(msd, test_share=0).cases("train").prepare([3])
        assert list(cases.store.sizes()) == [cases.requests[3].key]
        cases.prepare([1, 3])
        assert set(cases.store.sizes()) == {cases.requests[index].key for index in (1, 3)}


def test_cases_are_not_evicted_while_their_sequence_lives(stored):
    store = stored.store
    assert store.clean() == (0, 0)
    del stored
    gc.collect()  # the fixture's own reference remains
    assert len(store.sizes()) == 5
