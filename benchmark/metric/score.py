"""A transferability estimate's score: its value, why it is undefined, and the elements that it is made of."""

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


class UndefinedScoreWarning(UserWarning):
    """A score is NaN; the message is the reason."""


@dataclass(frozen=True)
class Score:
    """What an estimate says of one source and one target.

    Attributes:
        value: higher is better; NaN where undefined.
        reason: why it is NaN, or what was left out of a number; empty where there is nothing to say.
        parts: elements worth logging; the elements of an estimate that is normalised over a pool.

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
    """The number of a score, as a sample door returns it; a warning tells why it is NaN.

    Args:
        score: what a statistics door returned.
        stacklevel: frames from here to the caller's caller.

    Returns:
        The score's value.
    """
    if math.isnan(score.value):
        warnings.warn(score.reason, UndefinedScoreWarning, stacklevel=stacklevel)
    return score.value


def needed(metrics: Iterable[object]) -> list[str]:
    """The names of the passes that metrics need beside the one over the target, each once, sorted.

    Args:
        metrics: metrics, or their classes.

    Returns:
        Names.
    """
    return sorted({name for metric in metrics for name in getattr(metric, "needs", ())})
