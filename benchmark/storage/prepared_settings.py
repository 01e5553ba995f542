"""How prepared cases are stored and read during a job: where, by how many processes, and the disk space for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import InputError, check_whole, is_number


@dataclass(frozen=True)
class PreparedSettings:
    """Settings of the store of prepared cases.

    Attributes:
        folder: The store's folder, absolute; it may be deleted at any time.
        keep_gib: Most GiB that stored cases take; None: as much as the disk has.
        processes: Processes that prepare cases; None: one per core that this process may use.
        copies: Folders with further copies of cases, whose size counts in `keep_gib`: those that nnU-Net trains from.
        workers: Processes that read training patches; None: 0 if the cases fit into memory, or else one per core.
    """

    folder: Path
    keep_gib: float | None = None
    processes: int | None = None
    workers: int | None = None
    copies: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if self.keep_gib is not None and not (is_number(self.keep_gib) and self.keep_gib > 0):
            raise InputError(f"data.keep_gib must be a positive number or null, got {self.keep_gib}")
        for name, least in (("processes", 1), ("workers", 0)):
            check_whole(f"data.{name}", getattr(self, name), least=least, optional=True)


_settings: ContextVar[PreparedSettings | None] = ContextVar("prepared_settings", default=None)


@contextmanager
def storing_prepared(settings: PreparedSettings) -> Iterator[None]:
    """Store prepared cases during the block; without such a block cases are prepared in memory at each use."""
    token = _settings.set(settings)
    try:
        yield
    finally:
        _settings.reset(token)


def prepared_settings() -> PreparedSettings | None:
    """The settings of the block that runs; None outside of one."""
    return _settings.get()
