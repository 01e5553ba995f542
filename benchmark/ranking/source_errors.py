"""Isolates the errors of one source: an error becomes the source's skip reason, in one line, or ends the command.

A source brings code and files of its own, so anything may be raised, a call of `sys.exit` included. Bad input gives its
message. Whatever else a source raises gives a line that names what was being done, with the traceback in a log file.
Four errors of our own and Ctrl-C stop the command: a case of the target that cannot be read, a file of ours that cannot
be written, a time limit, and a job that must not start. Torch's global settings are put back after each source, and
markers on disk show in which block a process was killed, for example by the kernel for want of memory.
"""

import errno
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import torch
from hydra.errors import HydraException
from torch import nn

from benchmark.errors import CaseError, InputError, NotStartedError, SkipPair, TimeLimitError, WriteError
from benchmark.storage.digest import text_digest

STOPPING = (CaseError, WriteError, TimeLimitError, NotStartedError)
# What torch says where it has no exception class for it: its CPU allocator, C++, cuBLAS and cuDNN
NO_MEMORY = ("can't allocate memory", "out of memory", "std::bad_alloc", "ALLOC_FAILED")
LONGEST = 150  # characters of a log's name; file systems take 255 bytes
BOOT = Path("/proc/sys/kernel/random/boot_id")  # of Linux; another one after a restart of the machine
SAME_START = 2.0  # seconds; a process's start time can move by up to one second when the clock is adjusted
MOST = 100  # characters that are shown of what sys.exit was called with
# Settings of the whole process that a source's own code may change: how each is read, and how it is set
SETTINGS: tuple[tuple[Callable[[], Any], Callable[[Any], Any]], ...] = (
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_default_device, lambda device: torch.set_default_device(None if device.type == "cpu" else device)),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    *(
        (partial(getattr, torch.backends.cudnn, name), partial(setattr, torch.backends.cudnn, name))
        for name in ("enabled", "benchmark", "deterministic", "allow_tf32")
    ),
)


@dataclass(eq=False)
class SourceError(Exception):
    """An exception that a source raised, which is its `__cause__`.

    Attributes:
        doing: What was being done, such as "in its forward pass".
        advice: What to do where memory ran out.
    """

    doing: str
    advice: str = ""


@contextmanager
def blamed_on_source(doing: str, *, advice: str = "") -> Iterator[None]:
    """Turn an exception within the block into a SourceError, unless it is bad input or stops the command.

    The working directory is put back after the block: the paths of the target may be relative to it.

    Args:
        doing: As in `SourceError`.
        advice: As in `SourceError`.

    Raises:
        SourceError: The block raised an exception, or called `sys.exit`.
    """
    try:
        with chdir("."):
            yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if (stop := stopping(error)) is not None:
            raise stop from error.__cause__
        cause = _instantiated(error)
        if isinstance(cause, InputError | SkipPair | SourceError):
            raise cause from cause.__cause__
        raise SourceError(doing, advice) from cause


@contextmanager
def own_files(folder: Path, network: nn.Module | None = None) -> Iterator[None]:
    """Turn an OSError within the block into a WriteError, unless a network's own forward pass or want of memory is why.

    Args:
        folder: Where we write.
        network: The network that runs within the block.

    Raises:
        WriteError: A file cannot be written.
    """
    forwarding: list[nn.Module] = []  # the network, while its forward pass runs and after it raised
    hooks = []
    if network is not None:
        hooks = [
            network.register_forward_pre_hook(lambda module, inputs: forwarding.append(module), prepend=True),
            network.register_forward_hook(lambda module, inputs, output: forwarding.clear()),
        ]
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOMEM or forwarding:
            raise
        place, why = error.filename or folder, error.strerror or str(error)
        raise WriteError(f"cannot write {place}: {why}; what is finished is kept, run again to resume") from error
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def restored_settings() -> Iterator[None]:
    """Put torch's global settings back after the block: dtype, device, gradients, threads, determinism, precision.

    Example:
        >>> with restored_settings():
        ...     torch.set_default_dtype(torch.float64)
        >>> torch.ones(1).dtype
        torch.float32
    """
    before = [read() for read, _ in SETTINGS]
    try:
        yield
    finally:
        for value, (read, write) in zip(before, SETTINGS, strict=True):
            if read() != value:
                write(value)


@dataclass(frozen=True)
class SourceLogs:
    """The log files of a pool's sources in a folder, one for each that raised an exception."""

    folder: Path

    def path(self, source: str) -> Path:
        """The log of a source."""
        name = quote(source, safe=" ", errors="surrogateescape")
        if len(name) > LONGEST:
            name = f"{name[:LONGEST]}-{text_digest(name)[:8]}"
        return self.folder / f"{name}.log"

    def clear(self, source: str) -> None:
        """Remove what an earlier run left."""
        with own_files(self.folder):
            self.path(source).unlink(missing_ok=True)

    def reason(self, source: str, error: InputError | SkipPair | SourceError) -> str:
        """The reason that an exception gives, in one line; that of a SourceError names the log with the traceback.

        Raises:
            InputError: The exception stops the command.
            WriteError: The log cannot be written.
        """
        if (stop := stopping(error)) is not None:
            raise stop
        if not isinstance(error, SourceError) or error.__cause__ is None:
            return " ".join(str(error).split())  # a message of our own, of any length
        cause = error.__cause__
        path = self.path(source)
        with own_files(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8", errors="backslashreplace") as log:
                log.write(f"{source}: {error.doing}\n{''.join(traceback.format_exception(cause))}\n")
        if out_of_memory(cause):
            return f"out of memory {error.doing}" + (f"; {error.advice}" if error.advice else "")
        if isinstance(cause, SystemExit):
            code = "" if cause.code is None else repr(cause.code)[:MOST]
            return f"it called sys.exit({code}) {error.doing}; traceback in {path}"
        message = next((f": {line.strip()}" for line in str(cause).splitlines() if line.strip()), "")
        return f"{type(cause).__name__} {error.doing}{message}; traceback in {path}"


def stopping(error: BaseException) -> InputError | None:
    """The exception that stops the command, where one is no source's fault or was raised from one that is none."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, STOPPING):
            return link
        link = link.__cause__
    return None


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on a CPU or a GPU.

    Example:
        >>> out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"))
        True
    """
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in NO_MEMORY)


def _instantiated(error: BaseException) -> BaseException:
    """What was raised by the class that a config names, without what Hydra wraps it in."""
    while isinstance(error, HydraException) and error.__cause__ is not None:
        error = error.__cause__
    return error


@contextmanager
def attempt(marker: Path, doing: str, *, most: int) -> Iterator[None]:
    """Run the block, unless earlier processes were killed in it too often, for example for want of memory.

    A marker lies on disk while the block runs. An exception, Ctrl-C included, removes it; only a killed process leaves
    it there.

    Args:
        marker: The file; its folder is created if missing.
        doing: What the block does, for the reason.
        most: How often a process may be killed in the block.

    Raises:
        SkipPair: The process was killed in the block that often.

    Example:
        >>> import tempfile
        >>> marker = Path(tempfile.mkdtemp()) / "step.attempt"
        >>> _ = marker.write_text("1 0 0 -")  # as a process leaves it that was killed once
        >>> with attempt(marker, "in its training step", most=1):
        ...     pass
        Traceback (most recent call last):
        benchmark.errors.SkipPair: the process was killed in its training step, ...
    """
    kills = _kills(marker)
    if kills >= most:
        often = "" if kills == 1 else f" {kills} times"
        raise SkipPair(f"the process was killed{often} {doing}, probably because memory ran out; "
                       f"delete {marker} to try again")  # fmt: skip
    with own_files(marker.parent):
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.write_text(f"{kills + 1} {os.getpid()} {_start():.2f} {_boot()}", encoding="ascii")
    try:
        yield
    finally:
        with own_files(marker.parent):
            marker.unlink(missing_ok=True)


def _kills(marker: Path) -> int:
    """How many processes were killed in the block; one that is still running was not."""
    try:
        words = marker.read_text(encoding="ascii").split()
        kills, process = int(words[0]), int(words[1])
        start, boot = (float(words[2]), words[3]) if len(words) > 2 else (0.0, "")
    except (OSError, ValueError, IndexError):
        return 0
    return kills - 1 if _runs(process, start, boot) else kills


def _runs(process: int, start: float, boot: str) -> bool:
    """Whether another process with this number, start and boot still runs.

    The number is not enough, since every run in a container may have the same one. A killed process keeps its number as
    a zombie until its parent waits for it.
    """
    if process == os.getpid() or not start or boot != _boot():
        return False
    with suppress(psutil.Error, ValueError):  # ValueError: a negative number
        other = psutil.Process(process)
        return bool(other.status() != psutil.STATUS_ZOMBIE and abs(other.create_time() - start) < SAME_START)
    return False


def _start() -> float:
    """When this process started, in seconds since 1970; 0 where that cannot be known."""
    try:
        return float(psutil.Process().create_time())
    except psutil.Error:
        return 0.0


def _boot() -> str:
    """An identifier of this boot of the machine; "-" where the system does not say."""
    try:
        return BOOT.read_text(encoding="ascii").strip() or "-"
    except OSError:
        return "-"
