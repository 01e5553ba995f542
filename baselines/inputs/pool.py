"""Normalisation of the terms of an estimate over the sources of one target."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from baselines.inputs.arrays import Floats
from benchmark.metric.score import Score


def minmax(values: Floats) -> Floats:
    """Scale values to [0, 1]; all 0 if they are all equal.

    Args:
        values: (n,) one term of each source.

    Returns:
        (n,) float64.

    Example:
        >>> minmax(np.array([1.0, 3.0, 2.0])).tolist()
        [0.0, 1.0, 0.5]
    """
    low, span = values.min(), np.ptp(values)
    return np.asarray((values - low) / span if span > 0 else np.zeros_like(values))


def pooled(scores: Mapping[str, Score], rule: Callable[[Callable[[str], Floats]], Floats]) -> dict[str, Score]:
    """Compute final scores from the terms of all sources in a pool.

    Args:
        scores: by source of one target, with the terms as parts.
        rule: maps the function term name -> (n,) values of all sources that have a score to their final scores.

    Returns:
        The final scores; a source without a score keeps its NaN and reason.
    """
    names = [name for name, score in scores.items() if not np.isnan(score.value)]
    if not names:
        return dict(scores)
    values = rule(lambda element: np.array([scores[name].parts[element] for name in names], dtype=np.float64))
    final = {name: replace(scores[name], value=float(value)) for name, value in zip(names, values, strict=True)}
    return {name: final.get(name, score) for name, score in scores.items()}
