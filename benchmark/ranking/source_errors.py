"""What an exception means while one source is scored: that source's reason, in one line, or the end of the command.

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
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import torch
from hydra.errors import HydraException
from torch import nn
from torch.utils.hooks import RemovableHandle

from benchmark.errors import CaseError, InputError, NotStartedError, SkipPair, TimeLimitError, WriteError, one_line
from benchmark.storage.digest import text_digest

STOPPING = (CaseError, WriteError, TimeLimitError, NotStartedError)
# What torch says where it has no exception class for it: its CPU allocator, C++, cuBLAS and cuDNN
NO_MEMORY = ("can't allocate memory", "out of memory", "std::bad_alloc", "ALLOC_FAILED")
LONGEST = 150  # characters of a log's name; file systems take 255 bytes
MOST = 100  # characters that are shown of what sys.exit was called with


class SourceError(Exception):
    """An exception that a source raised, which is its `__cause__`.

    Args:
        doing: What was being done, such as "in its forward pass".
        advice: What to do where memory ran out.
    """

    def __init__(self, doing: str, advice: str = "") -> None:
        super().__init__(doing)
        self.doing = doing
        self.advice = advice


@contextmanager
def blamed_on_source(doing: str, *, advice: str = "") -> Iterator[None]:
    """Turn an exception within the block into a SourceError, unless it is bad input or stops the command.

    The working directory is put back after the block: the paths of the target may be relative to it.

    Args:
        doing: What is being done.
        advice: What to do where memory runs out.

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
def own_files(folder: Path, watch: "ForwardWatch | None" = None) -> Iterator[None]:
    """Turn an OSError within the block into a WriteError, unless a network's own forward pass or want of memory is why.

    Args:
        folder: Where we write.
        watch: Of the network that runs within the block.

    Raises:
        WriteError: A file cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOMEM or (watch is not None and watch.inside):
            raise
        raise _not_written(error, folder) from error


class ForwardWatch:
    """Tells whether an exception came from within a network's forward pass.

    Args:
        network: The network, watched while this is entered.

    Example:
        >>> network = nn.Conv3d(1, 1, 1)
        >>> with ForwardWatch(network) as watch:
        ...     try:
        ...         network(torch.zeros(1, 9, 2, 2, 2))
        ...     except RuntimeError:
        ...         print(watch.inside)
        True
    """

    def __init__(self, network: nn.Module) -> None:
        self.inside = False
        self._network = network
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        def begin(module: nn.Module, inputs: Any) -> None:
            self.inside = True

        def end(module: nn.Module, inputs: Any, output: Any) -> None:
            self.inside = False  # not called where the forward pass raised

        self._handles = [
            self._network.register_forward_pre_hook(begin, prepend=True),
            self._network.register_forward_hook(end),
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()


@dataclass(frozen=True)
class SourceLogs:
    """The log files of a pool's sources, one for each that raised an exception.

    Attributes:
        folder: Where they are.
    """

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

        Args:
            source: The source's name.
            error: The exception.

        Raises:
            InputError: The exception stops the command.
            WriteError: The log cannot be written.
        """
        if (stop := stopping(error)) is not None:
            raise stop
        if not isinstance(error, SourceError) or error.__cause__ is None:
            return one_line(error)
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
        told = next((line.strip() for line in str(cause).splitlines() if line.strip()), "")
        return f"{type(cause).__name__} {error.doing}{': ' if told else ''}{told}; traceback in {path}"


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


def _not_written(error: OSError, folder: Path) -> WriteError:
    place, why = error.filename or folder, error.strerror or str(error)
    return WriteError(f"cannot write {place}: {why}; what is finished is kept, run again to resume")


def _instantiated(error: BaseException) -> BaseException:
    """What was raised by the class that a config names, without what Hydra wraps it in."""
    while isinstance(error, HydraException) and error.__cause__ is not None:
        error = error.__cause__
    return error
