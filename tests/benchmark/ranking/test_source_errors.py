"""What an exception means while a source is scored: its reason, with a log, or the end of the command."""

import errno
import os
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate

from benchmark.errors import CaseError, InputError, NotStartedError, SkipPair, TimeLimitError, WriteError
from benchmark.ranking.source_errors import (
    SourceError,
    SourceLogs,
    blamed_on_source,
    out_of_memory,
    own_files,
    stopping,
)

CPU = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."


def raises(error):
    """What a config may name."""
    raise {"input": InputError("wrong file"), "time": TimeLimitError("over"), "key": KeyError("k")}[error]


@pytest.fixture
def logs(tmp_path):
    return SourceLogs(tmp_path / "logs")


def reason(logs, error, doing="in its forward pass", advice="", name="a"):
    try:
        with blamed_on_source(doing, advice=advice):
            raise error
    except (InputError, SkipPair, SourceError) as fault:
        return logs.reason(name, fault)


@pytest.mark.parametrize("error", [InputError("a bad\n file"), SkipPair("a bad  file")])
def test_bad_input_is_its_own_reason_without_a_log(logs, error):
    assert reason(logs, error) == "a bad file"
    assert not logs.folder.exists()


def test_whatever_else_is_raised_is_named_and_its_traceback_kept(logs):
    path = logs.path("a")
    assert reason(logs, KeyError("k\nmore")) == f"KeyError in its forward pass: 'k\\nmore'; traceback in {path}"
    assert reason(logs, AssertionError(), "while it was opened") == (
        f"AssertionError while it was opened; traceback in {path}"
    )
    assert path.read_text(encoding="utf-8").count("Traceback (most recent call last)") == 2
    logs.clear("a")
    assert not path.exists()


@pytest.mark.parametrize(
    "error",
    [MemoryError(), torch.OutOfMemoryError("CUDA"), RuntimeError(CPU), RuntimeError("std::bad_alloc"),
     OSError(errno.ENOMEM, "Cannot allocate memory")],
)  # fmt: skip
def test_out_of_memory_is_told_with_advice(logs, error):
    assert out_of_memory(error)
    assert reason(logs, error, advice="take less") == "out of memory in its forward pass; take less"
    assert reason(logs, error) == "out of memory in its forward pass"


def test_what_torch_really_raises_is_out_of_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)
    assert out_of_memory(caught.value)


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError(CPU), OSError(errno.ENOENT, "gone")])
def test_other_errors_are_not_out_of_memory(error):
    assert not out_of_memory(error)


@pytest.mark.parametrize(
    "error", [CaseError("case"), WriteError("disk"), TimeLimitError("over"), NotStartedError("not")]
)
def test_what_is_no_sources_fault_stops(logs, error):
    with pytest.raises(type(error)):
        reason(logs, error)
    wrapped = SkipPair("wrapped")
    wrapped.__cause__ = error
    with pytest.raises(type(error)):
        reason(logs, wrapped)
    assert stopping(KeyError()) is None


def test_a_full_disk_of_ours_stops_and_one_that_a_source_reports_does_not(logs, tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device", "/x/y")

    def write():
        with blamed_on_source("in its forward pass"), own_files(tmp_path):
            raise full

    with pytest.raises(WriteError, match=r"cannot write /x/y: No space left on device; what is finished is kept"):
        write()
    expected = f"OSError in its forward pass: {full}; traceback in {logs.path('a')}"
    assert reason(logs, OSError(errno.ENOSPC, "No space left on device", "/x/y")) == expected


def test_ctrl_c_stops(logs):
    with pytest.raises(KeyboardInterrupt):
        reason(logs, KeyboardInterrupt())


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (SystemExit(), "sys.exit()"),
        (SystemExit(0), "sys.exit(0)"),
        (SystemExit("usage:\n x"), r"sys.exit('usage:\n x')"),
    ],
)
def test_a_source_that_ends_the_program_is_skipped(logs, error, call):
    assert reason(logs, error) == f"it called {call} in its forward pass; traceback in {logs.path('a')}"
    assert "SystemExit" in logs.path("a").read_text(encoding="utf-8")


@pytest.mark.parametrize("error", [BaseException("x"), GeneratorExit("x"), StopIteration("x"), StopAsyncIteration("x")])
def test_whatever_can_be_raised_is_a_reason(logs, error):
    assert reason(logs, error) == f"{type(error).__name__} in its forward pass: x; traceback in {logs.path('a')}"


@pytest.mark.parametrize("fails", [False, True])
def test_the_working_directory_is_put_back(logs, tmp_path, monkeypatch, fails):
    monkeypatch.chdir(tmp_path)

    def moves():
        with blamed_on_source("while it was opened"):
            os.chdir("/")
            if fails:
                raise KeyError

    if fails:
        with pytest.raises(SourceError):
            moves()
    else:
        moves()
    assert Path.cwd() == tmp_path


def test_what_hydra_wraps_is_unwrapped(logs):
    def made(error):
        with blamed_on_source("while it was opened"):
            instantiate({"_target_": f"{__name__}.raises", "error": error})

    with pytest.raises(InputError, match=r"^wrong file$"):
        made("input")
    with pytest.raises(TimeLimitError):
        made("time")
    with pytest.raises(SourceError) as caught:
        made("key")
    assert isinstance(caught.value.__cause__, KeyError)


def full_of_its_own():
    raise OSError(errno.ENOSPC, "No space left on device")


def test_an_oserror_is_ours_unless_the_network_raises_it(tmp_path):
    class Reads(torch.nn.Conv3d):
        def forward(self, views):
            raise FileNotFoundError(2, "gone", "table")

    network = Reads(1, 1, 1)
    with pytest.raises(FileNotFoundError), own_files(tmp_path, network):
        network(torch.zeros(1, 1, 2, 2, 2))
    Reads.forward = lambda self, views: full_of_its_own()
    with pytest.raises(SourceError), blamed_on_source("x"), own_files(tmp_path, network):
        network(torch.zeros(1, 1, 2, 2, 2))
    sound = torch.nn.Conv3d(1, 1, 1)

    def full_disk():
        with own_files(tmp_path, sound):
            sound(torch.zeros(1, 1, 2, 2, 2))
            raise OSError("3 requested and 0 written")  # as numpy tells it

    with pytest.raises(WriteError, match=f"cannot write {tmp_path}: 3 requested and 0 written"):
        full_disk()
    assert not network._forward_hooks
    assert not network._forward_pre_hooks


def test_any_name_has_a_log_of_its_own(logs):
    long = [f"{'x' * 300}{end}" for end in "ab"]
    names = ["a/b", "..", "a b", *long]
    for name in names:
        reason(logs, KeyError(name), name=name)
    assert len(list(logs.folder.iterdir())) == len(names)
