"""The order of the cases, those that are scored, and the two halves by which the order of the sources is checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from benchmark.data.tasks.checking import CheckedCase
from benchmark.errors import InputError, check_whole
from benchmark.features.window_selection import WindowPolicy

ORDER = "most classes first, then most foreground voxels"
SHOWN = 20  # names of cases that are left out


@dataclass(frozen=True)
class CaseChoice:
    """What a ranking reads of the target.

    Attributes:
        windows: The windows of each case that are forwarded.
        chosen: The cases that are scored, in order.
        left_out: The others, in order.
    """

    windows: WindowPolicy
    chosen: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, checked: Mapping[str, CheckedCase], *, windows: WindowPolicy, number: int | None) -> "CaseChoice":
        """The first `number` cases in order, or all of them for None or a larger number.

        Raises:
            InputError: `number` is not positive, or the windows are unknown.
        """
        if windows not in get_args(WindowPolicy):
            raise InputError(f"stream.windows must be one of {', '.join(get_args(WindowPolicy))}, got {windows}")
        check_whole("stream.cases", number, least=1, optional=True)
        order = ordered(checked)
        return cls(windows, tuple(order[:number]), tuple(order[number:] if number else ()))

    def smaller(self, *, windows: WindowPolicy, number: int) -> "CaseChoice":
        """Other windows of the first `number` chosen cases."""
        return CaseChoice(windows, self.chosen[:number], (*self.chosen[number:], *self.left_out))

    @property
    def settings(self) -> str:
        """The settings that give this choice, as on the command line."""
        return f"stream.windows={self.windows} stream.cases={len(self.chosen)}"

    def describe(self) -> list[str]:
        """What is scored and what is left out, one line each; empty if nothing is left out."""
        lines = []
        if self.left_out:
            every, more = len(self.chosen) + len(self.left_out), len(self.left_out) - SHOWN
            rest = f" and {more} more, all in ranking.json" if more > 0 else ""
            lines.append(f"{len(self.chosen)} of {every} cases are scored, {ORDER} (`stream.cases`); left out: "
                         f"{', '.join(self.left_out[:SHOWN])}{rest}")  # fmt: skip
        if self.windows == "foreground":
            lines.append("only windows with foreground are forwarded (`stream.windows`), and what is said of the "
                         "background is about the background in them")  # fmt: skip
        return lines


def ordered(checked: Mapping[str, CheckedCase]) -> list[str]:
    """The names of the cases: those with most classes first, then those with most foreground voxels, ties by name.

    Example:
        >>> known = {"a": {0: 9}, "b": {1: 5}, "c": {1: 1, 2: 1}, "d": {1: 5}}
        >>> ordered({name: CheckedCase(counts, (3, 3, 3), (1.0, 1.0, 1.0), "") for name, counts in known.items()})
        ['c', 'b', 'd', 'a']
    """
    return sorted(checked, key=lambda name: (-checked[name].classes, -checked[name].foreground, name))


def half_counts(order: Sequence[str]) -> NDArray[np.int64]:
    """How often each of two halves contains each case: every other case in order, and the rest.

    Args:
        order: The m cases in order.

    Returns:
        (2, m), or (0, m) for fewer than two cases; the columns are the cases sorted by name.

    Example:
        >>> half_counts(["c", "a", "b"]).tolist()
        [[0, 1, 1], [1, 0, 0]]
    """
    m = len(order)
    if m < 2:
        return np.zeros((0, m), dtype=np.int64)
    first = np.array([order.index(name) % 2 == 0 for name in sorted(order)], dtype=np.int64)
    return np.stack([first, 1 - first])
