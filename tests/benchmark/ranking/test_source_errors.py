"""What an exception means while a source is scored: its reason, with a log, or the end of the command."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
from hydra.utils import instantiate

from benchmark.errors import CaseError, InputError, NotStartedError, SkipPair, TimeLimitError, WriteError
from benchmark.ranking import source_errors
from benchmark.ranking.source_errors import (
    SETTINGS,
    SourceError,
    SourceLogs,
    attempt,
    blamed_on_source,
    out_of_memory,
    own_files,
    restored_settings,
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
    told = f"OSError in its forward pass: {full}; traceback in {logs.path('a')}"
    assert reason(logs, OSError(errno.ENOSPC, "No space left on device", "/x/y")) == told


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


CHANGES = {
    "dtype": lambda: torch.set_default_dtype(torch.float64),
    "device": lambda: torch.set_default_device("meta"),
    "gradients": lambda: torch.set_grad_enabled(False),
    "threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "determinism": lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    "precision": lambda: torch.set_float32_matmul_precision("medium"),
    "cudnn": lambda: setattr(torch.backends.cudnn, "benchmark", not torch.backends.cudnn.benchmark),
    "TF32": lambda: setattr(torch.backends.cudnn, "allow_tf32", not torch.backends.cudnn.allow_tf32),
}


def state():
    return [read() for read, _ in SETTINGS]


@pytest.mark.parametrize("change", CHANGES)
def test_a_setting_is_put_back(change):
    before = state()
    with restored_settings():
        CHANGES[change]()
        assert state() != before
    assert state() == before
    assert torch.ones(1).device.type == "cpu"


def test_a_setting_is_put_back_after_an_error():
    def ends():
        with restored_settings():
            torch.set_default_dtype(torch.float64)
            raise SystemExit

    with pytest.raises(SystemExit):
        ends()
    assert torch.get_default_dtype() == torch.float32


LATER = 60.0  # seconds after a process started, when the process that had its number before was long gone
KILLED = """
import os, signal, sys
from pathlib import Path
from benchmark.ranking.source_errors import attempt
with attempt(Path(sys.argv[1]), "in its training step", most=2):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "step.attempt"


def test_a_block_that_ends_leaves_nothing(marker):
    with attempt(marker, "in its training step", most=1):
        assert marker.is_file()
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), attempt(marker, "in its training step", most=1):
            raise error
    assert not marker.exists()


def test_a_process_that_was_killed_too_often_is_told(marker):
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", KILLED, str(marker)], check=False, capture_output=True)
        assert done.returncode == -9
    reason = rf"the process was killed 2 times in its training step, .*; delete {marker} to try again"
    with pytest.raises(SkipPair, match=reason), attempt(marker, "in its training step", most=2):
        pass
    marker.unlink()
    with attempt(marker, "in its training step", most=2):
        pass


def left_by(process, *, later=0.0, boot=None):
    """A marker as a process leaves it that is killed for the first time."""
    start = psutil.Process(process).create_time() + later
    return f"1 {process} {start:.2f} {source_errors._boot() if boot is None else boot}"


def is_skipped(marker):
    try:
        with attempt(marker, "in its training step", most=1):
            return False
    except SkipPair:
        return True


def test_a_process_that_still_runs_was_not_killed(marker):
    marker.write_text(left_by(os.getppid()))
    assert not is_skipped(marker)


def test_the_number_of_a_process_alone_does_not_say_that_it_runs(marker):
    """In a container every run has the number of the one before: this process's own, or that of another one's shell."""
    others = {
        "its own number, as in a container": left_by(os.getpid(), later=-LATER),
        "its own number and start": left_by(os.getpid()),
        "another process with that number": left_by(os.getppid(), later=-LATER),
        "before the machine was started anew": left_by(os.getppid(), boot="another"),
        "as written before it said more": f"1 {os.getppid()}",
        "a start that could not be known": f"1 {os.getppid()} 0.00 {source_errors._boot()}",
        "a negative number": f"1 -7 1.00 {source_errors._boot()}",
    }
    for what, content in others.items():
        marker.write_text(content)
        assert is_skipped(marker), what


def test_a_killed_process_that_nobody_waited_for_does_not_run(marker):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        marker.write_text(left_by(child.pid))
        assert not is_skipped(marker)
        marker.write_text(left_by(child.pid))
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and left a zombie
        assert is_skipped(marker)
    finally:
        child.kill()
        child.wait()


def test_a_marker_that_says_nothing_is_none(marker):
    marker.write_text("")
    with attempt(marker, "in its training step", most=1):
        pass
