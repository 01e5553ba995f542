"""MS-LEEP: LEEP of an ensemble of sources whose predictions are treated as independent, the sum of their LEEPs.

    MS-LEEP = sum over sources of LEEP(source)

Higher is better, among ensembles of the same size.

Reference: Agostinelli, Uijlings, Mensink, Ferrari, "Transferability Metrics for Selecting Source Model Ensembles",
CVPR 2022, arXiv 2111.13011. Deviation: none known; the authors released no code of it.

It scores a set of sources, so it does not appear in tables that rank single sources.
"""

from collections.abc import Sequence

import numpy as np

from baselines.inputs.arrays import Array
from baselines.inputs.predictions import read_members
from baselines.leep import leep_from_samples
from benchmark.metric.score import undefined, value_or_warn


def ms_leep_score(softmaxes: Sequence[Array], labels: Array, **weights: bool) -> float:
    """Sum of the members' LEEPs.

    Args:
        softmaxes: for each member, (n, z) probabilities at the same samples; z may differ.
        labels: (n,) integers, 0 .. k - 1.
        weights: parameters of `ClassWeights`.

    Returns:
        A number at most 0; NaN with an `UndefinedScoreWarning` where the LEEP of a member is undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> ms_leep_score([np.eye(2), np.eye(2)], np.array([0, 1]))
        0.0
    """
    scores = [leep_from_samples(member, **weights) for member in read_members(softmaxes, labels)]
    if missing := [score.reason for score in scores if np.isnan(score.value)]:
        return value_or_warn(undefined(f"{len(missing)} of {len(scores)} members have no LEEP: {missing[0]}"))
    return float(sum(score.value for score in scores))
