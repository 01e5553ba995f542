"""Score of a transferability estimate: its value, the reason if it is undefined, and its parts."""

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


class UndefinedScoreWarning(UserWarning):
    """Warns that a score is NaN; the message is the reason."""


@dataclass(frozen=True)
class Score:
    """Score of one source on one target.

    Attributes:
        value: higher is better; NaN if undefined.
        reason: why the value is NaN, or what was left out; empty otherwise.
        parts: named terms of the score, for logging and for normalisation over a pool.

    Example:
        >>> Score(float("nan"))
        Traceback (most recent call last):
        ValueError: `reason` must say why `value` is NaN, got ''
    """

    value: float
    reason: str = ""
    parts: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if math.isnan(self.value) and not self.reason:
            raise ValueError("`reason` must say why `value` is NaN, got ''")


def value_or_warn(score: Score, *, stacklevel: int = 3) -> float:
    """Return the value of a score, with a warning if it is NaN.

    Args:
        score: score to unpack.
        stacklevel: stack level of the warning, by default that of the caller's caller.

    Returns:
        The score's value.
    """
    if math.isnan(score.value):
        warnings.warn(score.reason, UndefinedScoreWarning, stacklevel=stacklevel)
    return score.value


def needed(metrics: Iterable[object]) -> list[str]:
    """List the extra passes that metrics need in addition to the pass over the target.

    Args:
        metrics: metrics, or their classes.

    Returns:
        Distinct names, sorted.
    """
    return sorted({name for metric in metrics for name in getattr(metric, "needs", ())})
