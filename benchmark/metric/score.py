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


def undefined(reason: str) -> Score:
    """Undefined score (NaN) with its reason."""
    return Score(math.nan, reason=reason)


def value_or_warn(score: Score, *, stacklevel: int = 3) -> float:
    """Value of a score; NaN is warned of at `stacklevel`, by default the line of the caller's caller."""
    if math.isnan(score.value):
        warnings.warn(score.reason, UndefinedScoreWarning, stacklevel=stacklevel)
    return score.value


def needed(metrics: Iterable[object]) -> list[str]:
    """Names of the passes, sorted, that metrics (or their classes) need in addition to the pass over the target."""
    return sorted({name for metric in metrics for name in getattr(metric, "needs", ())})
