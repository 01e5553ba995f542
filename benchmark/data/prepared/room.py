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


def fits(needed: int, room: Room) -> bool:
    """Whether cases of `needed` bytes before compression can fit."""
    return needed * BEST_RATIO <= room.nbytes


def check_room(needed: int, room: Room, *, cases: int) -> None:
    """Refuse to prepare cases that cannot fit.

    Raises:
        InputError: Even the best compression would not make them fit.
    """
    if not fits(needed, room):
        raise InputError(
            f"{cases} prepared cases of this job take about {needed / GIB:.1f} GiB before compression, but "
            f"{room.limit} leaves {max(room.nbytes, 0) / GIB:.1f} GiB; free disk space, raise data.keep_gib, or set "
            "output_dir to a larger disk"
        )
