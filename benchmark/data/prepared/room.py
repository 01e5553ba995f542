"""The disk space for prepared cases, and whether those of a job can fit."""

from dataclasses import dataclass

from benchmark.errors import InputError

GIB = 2**30
BEST_RATIO = 0.1  # of compression: a CT that is mostly air; a job is refused only if even this would not fit


@dataclass(frozen=True)
class Room:
    """How many bytes may be added to the store, and what limits them."""

    nbytes: int
    limit: str


class NoRoomError(InputError):
    """Prepared cases do not fit on the disk or into its limit."""


def check_room(needed: int, room: Room, *, cases: int) -> None:
    """Refuse to prepare cases that cannot fit.

    Args:
        needed: Bytes that the cases take at least, after compression.
        room: The space.
        cases: Their number.

    Raises:
        NoRoomError: The cases do not fit.
    """
    if needed > room.nbytes:
        number = f"{cases} cases that are to be prepared take" if cases != 1 else "1 case that is to be prepared takes"
        raise NoRoomError(f"{number} at least {_size(needed)}, but {room.limit} leaves {_size(room.nbytes)}; free disk "
                          "space, raise data.keep_gib, or set output_dir to a larger disk")  # fmt: skip


def _size(nbytes: int) -> str:
    return f"{max(nbytes, 0) / GIB:.1f} GiB" if nbytes >= GIB else f"{max(nbytes, 0) / 2**20:.1f} MiB"
