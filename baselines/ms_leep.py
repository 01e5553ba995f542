"""MS-LEEP: LEEP of an ensemble of sources whose predictions are treated as independent, the sum of their LEEPs.

    MS-LEEP = sum over sources of LEEP(source)

Higher is better, among ensembles of the same size.

Reference: Agostinelli, Uijlings, Mensink, Ferrari, "Transferability Metrics for Selecting Source Model Ensembles",
CVPR 2022, arXiv 2111.13011. Deviation: none known; the authors released no code of it.

It scores a set of sources, so it does not appear in tables that rank single sources.
"""

from collections.abc import Sequence

import numpy as np

from baselines.inputs.arrays import Array, read_softmax, undefined
from baselines.leep import leep_from_samples
from benchmark.metric.score import Score, value_or_warn


def ms_leep_score(
    softmaxes: Sequence[Array], labels: Array, *, foreground: bool = False, balanced: bool = False
) -> float:
    """Sum of the members' LEEPs.

    Args:
        softmaxes: for each member, (n, z) probabilities at the same samples; z may differ.
        labels: (n,) integers, 0 .. k - 1.
        foreground: leave out class 0.
        balanced: give every class the same weight.

    Returns:
        A number at most 0; NaN with an `UndefinedScoreWarning` where the LEEP of a member is undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> ms_leep_score([np.eye(2), np.eye(2)], np.array([0, 1]))
        0.0
    """
    if not len(softmaxes):
        raise ValueError("`softmaxes` must have at least one member, got 0")
    members = [read_softmax(softmax, labels) for softmax in softmaxes]
    return value_or_warn(
        ms_leep_of([leep_from_samples(member, foreground=foreground, balanced=balanced) for member in members])
    )


def ms_leep_of(scores: Sequence[Score]) -> Score:
    """MS-LEEP from the LEEP of each member.

    Args:
        scores: LEEP of each member on one target.

    Returns:
        Their sum.
    """
    if missing := [score.reason for score in scores if np.isnan(score.value)]:
        return undefined(f"{len(missing)} of {len(scores)} members have no LEEP: {missing[0]}")
    return Score(float(sum(score.value for score in scores)), parts={"members": float(len(scores))})
