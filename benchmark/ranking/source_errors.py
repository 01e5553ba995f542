"""Isolates the errors of one source: an error becomes the source's skip reason, in one line, or ends the command.

A source brings code and files of its own, so anything may be raised, a call of `sys.exit` included. Bad input gives its
message. Whatever else a source raises gives a line that names what was being done, with the traceback in a log file.
Four errors of our own and Ctrl-C stop the command: a case of the target that cannot be read, a file of ours that cannot
be written, a time limit, and a job that must not start.
"""

import errno
import traceback
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import torch
from hydra.errors import HydraException
from torch import nn

from benchmark.errors import CaseError, InputError, NotStartedError, SkipPair, TimeLimitError, WriteError
from benchmark.storage.digest import text_digest

STOPPING = (CaseError, WriteError, TimeLimitError, NotStartedError)
# What torch says where it has no exception class for it: its CPU allocator, C++, cuBLAS and cuDNN
NO_MEMORY = ("can't allocate memory", "out of memory", "std::bad_alloc", "ALLOC_FAILED")
LONGEST = 150  # characters of a log's name; file systems take 255 bytes
MOST = 100  # characters that are shown of what sys.exit was called with


@dataclass(eq=False)
class SourceError(Exception):
    """An exception that a source raised, which is its `__cause__`.

    Attributes:
        doing: What was being done, such as "in its forward pass".
        advice: What to do where memory ran out.
    """

    doing: str
    advice: str = ""


FAULTS = (InputError, SkipPair, SourceError)  # of a source; some InputErrors stop the command, see `stopping`


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
