"""The store of prepared cases: keys, damage, two processes, kills, limits."""

import gc
import logging
import math
import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import tifffile
import torch

from benchmark.data.files.cases import CaseFiles
from benchmark.data.prepared import preparing
from benchmark.data.prepared.case_folder import IMAGE, LABELS, POSITIONS, PROPERTIES
from benchmark.data.prepared.cases import Cases, StoredReader, prepare_together
from benchmark.data.prepared.room import BEST_RATIO
from benchmark.data.prepared.store import PreparedStore
from benchmark.data.tasks.msd import MsdTask
from benchmark.errors import CaseError, InputError
from benchmark.storage.prepared_settings import PreparedSettings, storing_prepared


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "prepared"


def _cases(msd, folder, **settings) -> Cases:
    with storing_prepared(PreparedSettings(folder, **settings)):
        return MsdTask(msd, test_share=0).cases("train")


def _fresh(cases: Cases) -> Cases:
    """The same cases in a store that has opened none, as in another process."""
    return Cases(cases.requests, place="folder", store=PreparedStore(cases.store.settings))


def _image(msd, index: int) -> Path:
    return msd / "imagesTr" / f"spleen_{index}.nii.gz"


def test_a_second_job_prepares_nothing(msd, folder):
    first = _cases(msd, folder).prepare()
    assert first.store.prepared == 5
    second = _fresh(first).prepare()
    list(second)
    assert second.store.prepared == 0


def test_mending_a_case_prepares_that_case_alone(msd, folder):
    _cases(msd, folder).prepare()
    _image(msd, 1).write_bytes(_image(msd, 2).read_bytes())
    mended = _fresh(_cases(msd, folder)).prepare()
    assert mended.store.prepared == 1
    assert torch.equal(mended[1].image, mended[2].image)


def test_another_preparation_or_labelling_is_another_case(msd, folder):
    cases = _cases(msd, folder)
    request = cases.requests[0]
    other = replace(request, settings={**request.settings, "channels": 2})
    assert other.key != request.key


@pytest.mark.parametrize("name", [IMAGE, LABELS, POSITIONS, PROPERTIES])
@pytest.mark.parametrize("damage", ["truncated", "altered", "deleted"])
def test_a_damaged_file_is_noticed_at_first_open_and_made_again(msd, folder, name, damage, caplog):
    cases = _cases(msd, folder).prepare()
    whole = cases.requests[3].read(cases.requests[3].files)
    path = cases.store.place(cases.requests[3].key) / name
    content = bytearray(path.read_bytes())
    if damage == "deleted":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    fresh = _fresh(cases)
    assert torch.equal(StoredReader(fresh.store, fresh.requests[3]).load().image, whole.image)
    assert fresh.store.prepared == 1
    assert "it is prepared again" in caplog.text
    assert f"{name} " in caplog.text or f"{name}:" in caplog.text


def test_a_file_that_changes_while_it_is_in_use_is_made_again(msd, folder):
    cases = _cases(msd, folder).prepare()
    reader = cases.reader(0)
    box = tuple(slice(0, 2) for _ in range(3))
    before = reader.read(box)
    path = cases.store.place(cases.requests[0].key) / IMAGE
    path.write_bytes(path.read_bytes()[:100])
    assert torch.equal(reader.read(box)[0], before[0])
    for stored in cases.store.sizes():
        subprocess.run(["rm", "-r", str(folder / stored)], check=True)
    assert torch.equal(reader.read(box)[1], before[1])
    assert reader.voxels(1).size


def test_a_case_that_was_replaced_while_a_job_runs_is_refused(msd, folder):
    cases = _cases(msd, folder).prepare()
    subprocess.run(["rm", "-r", str(folder)], check=True)
    _image(msd, 0).write_bytes(_image(msd, 2).read_bytes())
    message = r"the files of case spleen_0 changed after the job had started, such as .*; run it again"
    with pytest.raises(CaseError, match=message):
        cases.reader(0).read(tuple(slice(0, 2) for _ in range(3)))


def test_two_at_once_prepare_a_case_once(msd, folder):
    cases = _cases(msd, folder)
    stores = [PreparedStore(PreparedSettings(folder)) for _ in range(4)]
    threads = [threading.Thread(target=store.make, args=(cases.requests[0],)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(store.prepared for store in stores) == 1


def test_processes_prepare_what_one_process_does(msd, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, "SMALL", 0)
    several = _cases(msd, folder, processes=2).prepare()
    one = _cases(msd, tmp_path / "one", processes=1).prepare()
    assert several.store.prepared == 5
    # the padding of a compressed block is whatever was in memory, so files of equal arrays can differ
    for ours, theirs in zip(several.readers(), one.readers(), strict=True):
        assert (ours.shape, ours.spacing, ours.counts) == (theirs.shape, theirs.spacing, theirs.counts)
        assert torch.equal(ours.image, theirs.image)
        assert torch.equal(ours.labels, theirs.labels)
        assert all(np.array_equal(ours.voxels(label), theirs.voxels(label)) for label in ours.counts)


@pytest.mark.parametrize(("cases_in_memory", "said"), [(0, "1 process"), (2, "2 processes")])
def test_no_more_processes_than_memory_for_their_cases(msd, folder, monkeypatch, caplog, cases_in_memory, said):
    monkeypatch.setattr(preparing, "SMALL", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(8))
    cases = _cases(msd, folder)
    largest = max(request.estimated_bytes for request in cases.requests)
    free = largest * preparing.MEMORY_RATIO * cases_in_memory
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    with caplog.at_level(logging.INFO):
        cases.prepare()
    assert f"preparing 5 cases in {said}:" in caplog.text


def test_a_faulty_case_is_one_error_whichever_process_reads_it(msd, folder, monkeypatch):
    monkeypatch.setattr(preparing, "SMALL", 0)
    _image(msd, 4).write_bytes(b"nothing")
    with pytest.raises(CaseError, match="spleen_4"):
        _cases(msd, folder, processes=2).prepare()


def test_a_limit_evicts_the_least_recently_used_that_nobody_uses(msd, folder):
    cases = _cases(msd, folder).prepare()
    sizes = cases.store.sizes()
    keys = [request.key for request in cases.requests]
    for age, key in enumerate(keys):
        os.utime(folder / key, (age, age))
    gib = (sum(sizes.values()) - 1) / 2**30
    store = PreparedStore(PreparedSettings(folder, keep_gib=gib))
    assert store.evict() == []  # the first store uses them all
    del cases
    gc.collect()
    assert store.evict() == [keys[0]]


def test_a_job_that_cannot_fit_says_so_before_it_starts(msd, folder):
    with pytest.raises(InputError, match=r"5 cases .* take at least .*, but data.keep_gib=1e-08 leaves"):
        _cases(msd, folder, keep_gib=1e-8).prepare()
    assert list(folder.glob("[!.]*")) == []
    scored = _cases(msd, folder, keep_gib=1e-8).prepare(required=False)
    assert len(list(scored)) == 5
    assert list(folder.glob("[!.]*")) == []


def test_the_use_of_a_dead_process_does_not_count(msd, folder):
    cases = _cases(msd, folder).prepare()
    key = cases.requests[0].key
    code = f"""
import os, sys
from pathlib import Path
from benchmark.data.prepared.uses import Uses
uses = Uses(Path({str(folder / ".uses")!r}))
uses.add([{key!r}, "other"])
print("used", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"used\n"
        store = PreparedStore(cases.store.settings)
        assert "other" in store.uses.everyone()
        (own,) = (folder / ".uses").glob(f"*-{process.pid}-*.json")
        unfinished = own.with_name(f".{own.name}.{process.pid}.part")  # of a file that it was writing
        unfinished.touch()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert "other" not in store.uses.everyone()
    assert not unfinished.exists()


def test_a_kill_leaves_nothing_half_made(msd, folder):
    """A process is killed while it writes a case: another prepares it, and what was left is cleaned."""
    code = f"""
from pathlib import Path
from benchmark.data.prepared import store as stores
from benchmark.data.tasks.msd import MsdTask
from benchmark.storage.prepared_settings import PreparedSettings, storing_prepared
write = stores.write_case
def killed(case, folder):
    write(case, folder)
    print("written", flush=True)
    input()
stores.write_case = killed
with storing_prepared(PreparedSettings(Path({str(folder)!r}))):
    MsdTask({str(msd)!r}, test_share=0).cases("train").prepare()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert list(folder.glob("[!.]*")) == []
    cases = _cases(msd, folder).prepare()
    assert cases.store.prepared == 5
    assert not list(folder.glob(".*-*/*"))


def test_a_full_disk_is_one_line(msd, folder):
    """The system refuses to let a file grow, as on a full disk."""
    code = f"""
import resource
from pathlib import Path
from benchmark.data.tasks.msd import MsdTask
from benchmark.errors import WriteError
from benchmark.storage.prepared_settings import PreparedSettings, storing_prepared
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
with storing_prepared(PreparedSettings(Path({str(folder)!r}))):
    try:
        MsdTask({str(msd)!r}, test_share=0).cases("train").prepare()
    except WriteError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert re.fullmatch(
        rf"cannot write prepared case spleen_\d to {folder}: [^\n]+; free disk space, .*\n", done.stdout
    )
    assert list(folder.glob("[!.]*")) == []
    assert _cases(msd, folder).prepare().store.prepared == 5


def test_two_processes_prepare_each_case_once(msd, folder):
    code = f"""
from pathlib import Path
from benchmark.data.tasks.msd import MsdTask
from benchmark.storage.prepared_settings import PreparedSettings, storing_prepared
with storing_prepared(PreparedSettings(Path({str(folder)!r}))):
    cases = MsdTask({str(msd)!r}, test_share=0).cases("train")
    print("ready", flush=True)
    input()
    print(cases.prepare().store.prepared)
"""
    command = [sys.executable, "-c", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as first, subprocess.Popen(command, **pipes) as second:
        assert [process.stdout.readline() for process in (first, second)] == ["ready\n", "ready\n"]
        for process in (first, second):
            process.stdin.write("\n")
            process.stdin.flush()
        assert sum(int(process.stdout.readline()) for process in (first, second)) == 5


def test_a_copy_of_nnunet_counts_in_the_limit(msd, folder, tmp_path):
    (tmp_path / "nnunet").mkdir()
    (tmp_path / "nnunet" / "volume").write_bytes(bytes(2**20))
    cases = _cases(msd, folder, keep_gib=2**-9, copies=(tmp_path / "nnunet",))
    assert cases.store.room().nbytes == 2**20


def test_cleaning_keeps_what_fits(msd, folder):
    cases = _cases(msd, folder).prepare()
    sizes, settings = cases.store.sizes(), cases.store.settings
    del cases
    gc.collect()
    store = PreparedStore(settings)
    deleted = store.clean(max(sizes.values()))
    assert deleted[0] == 4
    assert sum(store.sizes().values()) <= max(sizes.values())
    assert store.clean()[0] == 1
    assert not list(folder.glob(".[0-9a-f]*"))


def test_what_fits_is_stored_and_the_rest_prepared_at_each_use(msd, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, "CHECK_EVERY", 0.0)
    size = max(_cases(msd, tmp_path / "all").prepare().store.sizes().values())
    cases = _cases(msd, folder, keep_gib=2.5 * size / 2**30).prepare(required=False)
    stored = len(cases.store.sizes())
    assert 0 < stored <= 2
    assert len(list(cases)) == 5
    assert cases.store.prepared_in_memory == 5 - stored
    with pytest.raises(InputError, match=r"data\.keep_gib"):
        _cases(msd, folder, keep_gib=2.5 * size / 2**30).prepare()
    assert len(cases.store.sizes()) <= 2


def test_splits_are_checked_together_before_any_case_is_prepared(msd, folder, tmp_path):
    sizes = _cases(msd, tmp_path / "all").prepare().store.sizes().values()
    room = BEST_RATIO * sum(request.estimated_bytes for request in _cases(msd, tmp_path / "all").requests)
    assert room < sum(sizes)  # the small files here compress worse than anything of real size
    cases = _cases(msd, folder, keep_gib=0.9 * room / 2**30)
    with pytest.raises(InputError, match="5 cases"):
        prepare_together([cases[:4], cases[4:]])
    assert list(folder.glob("[!.]*")) == []


def test_leftovers_of_killed_processes_are_cleaned(msd, folder):
    cases = _cases(msd, folder).prepare()
    key = cases.requests[0].key
    for name in (f".{key}-abc", f".{'0' * 32}-xyz", f".{'1' * 32}-deleted"):
        (folder / name / "case").mkdir(parents=True)
        (folder / name / "case" / IMAGE).write_bytes(b"half")
    cases.store.clean()
    assert not list(folder.glob(".*-*"))
    assert len(cases.store.sizes()) == 5


def test_uses_are_written_again_after_the_store_was_deleted(msd, folder):
    cases = _cases(msd, folder).prepare()
    subprocess.run(["rm", "-r", str(folder)], check=True)
    cases.reader(0).read(tuple(slice(0, 2) for _ in range(3)))
    other = PreparedStore(cases.store.settings)
    assert other.uses.everyone() == {request.key for request in cases.requests}
    assert other.clean() == (0, 0)


def test_another_version_of_a_package_is_another_case(msd, folder, monkeypatch):
    key = _cases(msd, folder).requests[0].key
    monkeypatch.setattr("benchmark.data.prepared.request._versions", lambda: ("0",))
    assert _cases(msd, folder).requests[0].key != key


@pytest.mark.parametrize(
    ("setting", "value"),
    [("keep_gib", 0), ("keep_gib", "abc"), ("keep_gib", math.nan), ("keep_gib", True), ("workers", -1),
     ("workers", 1.5), ("workers", True), ("processes", 0), ("processes", 1.5)],
)  # fmt: skip
def test_wrong_settings_are_one_line(setting, value):
    with pytest.raises(InputError, match=rf"\Adata\.{setting} must be [^\n]+, got {value}\Z"):
        PreparedSettings(Path("folder"), **{setting: value})


def test_estimates_are_those_of_the_prepared_arrays(msd, folder, tmp_path):
    cases = _cases(msd, folder)
    assert cases.requests[0].estimated_bytes == cases[0].nbytes
    resampled = replace(cases.requests[0], spacing=(1.0, 0.5, 0.75))
    assert resampled.estimated_bytes == pytest.approx(cases[0].nbytes * 8, rel=0.01)
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.zeros((6, 8, 10), np.float32), photometric="minisblack")
    (tmp_path / "stack.json").write_text('{"spacing": [0.01, 0.01, 0.01]}')
    stack = replace(cases.requests[0], files=CaseFiles("stack", (path,), path), spacing=(0.01, 0.01, 0.01))
    assert stack.estimated_bytes == 6 * 8 * 10 * 5
