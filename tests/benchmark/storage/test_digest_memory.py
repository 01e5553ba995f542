"""Remembered digests: of unchanged files only, shared by processes, and never an error or a wrong digest."""

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from benchmark.errors import InputError
from benchmark.storage.digest import file_digest, files_digest
from benchmark.storage.digest_memory import RACY_NS, remembered, remembering

OLD = RACY_NS + 1


class Counted:
    """Computes digests, and counts how often."""

    def __init__(self):
        self.calls = 0

    def __call__(self, path):
        self.calls += 1
        return file_digest(path)


@pytest.fixture
def compute():
    return Counted()


@pytest.fixture(autouse=True)
def later(monkeypatch):
    """The clock runs ahead, so that files written now are old enough."""
    clock = time.time_ns
    monkeypatch.setattr("benchmark.storage.digest_memory.time.time_ns", lambda: clock() + OLD)


@pytest.fixture
def database(tmp_path):
    return tmp_path / "outputs" / "digests.sqlite"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "case.nii.gz"
    path.write_bytes(b"first")
    return path


def digest(database, compute, path):
    """As in a job of its own."""
    with remembering(database):
        return remembered(compute)(path)


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_an_unchanged_file_is_read_once_by_all_jobs(database, compute, file, caplog):
    expected = file_digest(file)
    assert [digest(database, compute, file) for _ in range(3)] == [expected] * 3
    assert compute.calls == 1
    assert warnings(caplog) == []


def test_nothing_is_remembered_outside_of_a_job(compute, file):
    assert remembered(compute) is compute
    with pytest.raises(RuntimeError), remembering(file.with_name("digests.sqlite")):
        raise RuntimeError
    assert remembered(compute) is compute


def test_the_digest_of_a_data_set_is_the_same_with_and_without(database, tmp_path, monkeypatch):
    paths = [tmp_path / f"case_{index}" for index in range(3)]
    for path in paths:
        path.write_text(path.name)
    expected = files_digest(paths)
    with remembering(database):
        assert files_digest(paths) == expected
    monkeypatch.setattr("benchmark.storage.digest.file_digest", lambda path: pytest.fail(f"read {path}"))
    with remembering(database):
        assert files_digest(paths) == expected


def write_in_place(path, content):
    with path.open("r+b") as stream:
        stream.write(content)


def replace_file(path, content):
    other = path.with_name("other")
    other.write_bytes(content)
    other.replace(path)


@pytest.mark.parametrize("change", [write_in_place, replace_file])
@pytest.mark.parametrize("restored", [False, True])
def test_content_of_the_same_size_is_noticed_even_under_the_former_time(database, compute, file, change, restored):
    """In the same inode the change time shows it, which no program can set back."""
    before = file.stat()
    digest(database, compute, file)
    time.sleep(0.05)  # the kernel's clock for files ticks every few ms
    change(file, b"other")
    if restored:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert file.stat().st_size == before.st_size
    assert digest(database, compute, file) == file_digest(file)
    assert compute.calls == 2


def test_a_file_under_another_path_is_another_file(database, compute, file):
    first = digest(database, compute, file)
    copy = shutil.copy2(file, file.with_name("copy"))
    assert digest(database, compute, Path(copy)) == first
    assert compute.calls == 2


def test_a_link_that_leads_elsewhere_is_noticed(database, compute, file):
    other, link = file.with_name("other"), file.with_name("link")
    other.write_bytes(b"other")
    link.symlink_to(file)
    assert digest(database, compute, link) == digest(database, compute, link) == file_digest(file)
    assert compute.calls == 1
    link.unlink()
    link.symlink_to(other)
    assert digest(database, compute, link) == file_digest(other)


def test_the_working_directory_does_not_matter(database, compute, file, monkeypatch):
    digest(database, compute, file)
    monkeypatch.chdir(file.parent)
    digest(database, compute, Path(file.name))
    assert compute.calls == 1


@pytest.mark.parametrize("ahead", [0, RACY_NS // 2])
def test_a_file_changed_just_now_is_not_remembered(database, compute, file, monkeypatch, ahead):
    now = file.stat().st_ctime_ns + ahead
    monkeypatch.setattr("benchmark.storage.digest_memory.time.time_ns", lambda: now)
    digest(database, compute, file)
    digest(database, compute, file)
    assert compute.calls == 2


def test_a_file_that_changes_while_it_is_read_is_not_remembered(database, compute, file):
    def changing(path):
        value = compute(path)
        time.sleep(0.05)
        write_in_place(path, b"other")
        return value

    digest(database, changing, file)
    assert digest(database, compute, file) == file_digest(file)
    assert compute.calls == 2


def test_a_missing_file_is_an_error_even_if_its_digest_is_known(database, compute, file):
    digest(database, compute, file)
    file.unlink()
    with pytest.raises(FileNotFoundError):
        digest(database, compute, file)


DAMAGE = {
    "no database": lambda content: b"not a database, but some other text that is long enough" * 100,
    "cut": lambda content: content[: len(content) // 2 + 7],
    "overwritten": lambda content: content[:1000] + b"\xff" * (len(content) - 1000),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_replaced_with_one_line(database, compute, file, caplog, damage):
    expected = digest(database, compute, file)
    database.write_bytes(DAMAGE[damage](database.read_bytes()))
    assert digest(database, compute, file) == expected
    assert compute.calls == 2
    (line,) = warnings(caplog)
    assert line.startswith(f"cannot use the remembered digests in {database}: ")
    assert line.endswith("; it is replaced")
    assert digest(database, compute, file) == expected
    assert compute.calls == 2


def test_an_empty_file_is_filled(database, compute, file, caplog):
    database.parent.mkdir()
    database.touch()
    digest(database, compute, file)
    digest(database, compute, file)
    assert compute.calls == 1
    assert warnings(caplog) == []


@pytest.mark.parametrize("column", ["digest", "checksum"])
def test_a_damaged_row_is_computed_again(database, compute, file, column):
    expected = digest(database, compute, file)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(f"UPDATE digests SET {column} = '{'0' * 64}'")
    assert digest(database, compute, file) == expected
    assert compute.calls == 2


def make_file(path):
    path.write_text("not a folder")
    return path / "digests.sqlite"


@pytest.mark.parametrize("place", [make_file, lambda path: Path("/proc/digests.sqlite")], ids=["file", "proc"])
def test_a_folder_that_cannot_be_written_gives_one_line_and_all_digests(tmp_path, compute, file, caplog, place):
    database = place(tmp_path / "outputs")
    with remembering(database):
        assert [remembered(compute)(file) for _ in range(3)] == [file_digest(file)] * 3
    assert compute.calls == 3
    (line,) = warnings(caplog)
    assert line.startswith(f"cannot use the remembered digests in {database}: ")
    assert line.endswith("; files are digested without it")


def test_a_read_only_folder_gives_what_it_remembers(database, compute, file):
    """The superuser may write there; digests are the same."""
    expected = digest(database, compute, file)
    other = file.with_name("other")
    other.write_bytes(b"other")
    database.chmod(0o444)
    database.parent.chmod(0o555)
    try:
        assert digest(database, compute, file) == expected
        assert compute.calls == 1
        assert digest(database, compute, other) == file_digest(other)
    finally:
        database.parent.chmod(0o755)


def test_a_file_locked_for_too_long_is_no_longer_used(database, compute, file, caplog, monkeypatch):
    expected = digest(database, compute, file)
    monkeypatch.setattr("benchmark.storage.digest_memory.LOCK_SECONDS", 0.05)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert digest(database, compute, file) == expected
    assert len(warnings(caplog)) == 1
    assert digest(database, compute, file) == expected
    assert compute.calls == 2


def test_threads_share_it(database, compute, tmp_path, caplog):
    paths = [tmp_path / f"case_{index}" for index in range(40)]
    for path in paths:
        path.write_text(path.name)
    with ThreadPoolExecutor(4) as pool:
        digests = list(pool.map(lambda path: digest(database, compute, path), paths * 3))
    assert digests == [file_digest(path) for path in paths] * 3
    assert warnings(caplog) == []


JOB = """
import sys
from pathlib import Path
from benchmark.storage import digest_memory
from benchmark.storage.digest import files_digest

digest_memory.RACY_NS = -1
paths = sorted(Path(sys.argv[2]).iterdir())
with digest_memory.remembering(Path(sys.argv[1])):
    print(files_digest(paths))
"""


def test_processes_share_it(database, compute, tmp_path):
    folder = tmp_path / "cases"
    folder.mkdir()
    for index in range(50):
        (folder / f"case_{index}").write_text(str(index))
    command = [sys.executable, "-c", JOB, str(database), str(folder)]
    jobs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [job.communicate(timeout=120) for job in jobs]
    paths = sorted(folder.iterdir())
    assert outputs == [(f"{files_digest(paths)}\n", "")] * 3
    assert [digest(database, compute, path) for path in paths] == [file_digest(path) for path in paths]
    assert compute.calls == 0


@pytest.mark.parametrize("one_job", [True, False])
def test_an_input_must_not_change_during_a_job(tmp_path, one_job):
    path = tmp_path / "input"
    path.write_bytes(b"one")
    with remembering(tmp_path / "digests.sqlite", one_job=one_job):
        first = remembered(file_digest, is_input=True)(path)
        assert remembered(file_digest, is_input=True)(path) == first
        path.write_bytes(b"other")
        assert remembered(file_digest)(path) != first
        if one_job:
            with pytest.raises(InputError, match=rf"\A{path} changed after the job had started; run it again\Z"):
                remembered(file_digest, is_input=True)(path)
        else:
            assert remembered(file_digest, is_input=True)(path) != first
    with remembering(tmp_path / "digests.sqlite", one_job=one_job):  # the next job
        assert remembered(file_digest, is_input=True)(path) != first
