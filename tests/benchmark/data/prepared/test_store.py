"""The store of prepared cases: keys, damage, two processes, kills, limits."""

import gc
import json
import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmark.data.prepared import preparing
from benchmark.data.prepared.case_folder import IMAGE, LABELS, POSITIONS, PROPERTIES
from benchmark.data.prepared.cases import Cases, StoredReader
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
    digests = [
        [json.loads((cases.store.place(request.key) / PROPERTIES).read_text()) for request in cases.requests]
        for cases in (several, one)
    ]
    assert digests[0] == digests[1]


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
    with pytest.raises(InputError, match=r"5 prepared cases of this job take .* data.keep_gib=1e-08 leaves 0.0 GiB"):
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
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert "other" not in store.uses.everyone()


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
