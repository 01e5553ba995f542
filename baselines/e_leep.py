"""E-LEEP: LEEP of an ensemble that averages its members' expected empirical predictions.

    E-LEEP = mean_i log( mean over sources of sum_z P(y_i given z) p_iz )

Higher (closer to 0) is better.

Reference: Agostinelli, Uijlings, Mensink, Ferrari, "Transferability Metrics for Selecting Source Model Ensembles",
CVPR 2022, arXiv 2111.13011. Deviation: none known; the authors released no code of it.

It scores a set of sources, so it does not appear in tables that rank single sources. The softmaxes of all members must
be given at the same samples.
"""

from collections.abc import Sequence

import numpy as np

from baselines.inputs.arrays import Array, Samples, read_softmax, undefined
from baselines.inputs.predictions import joint_mass, read_joint
from baselines.leep import LEAST
from benchmark.metric.score import Score, value_or_warn


def e_leep_score(
    softmaxes: Sequence[Array], labels: Array, *, foreground: bool = False, balanced: bool = False
) -> float:
    """Mean log of the members' averaged expected empirical prediction.

    Args:
        softmaxes: for each member, (n, z) probabilities at the same samples; z may differ.
        labels: (n,) integers, 0 .. k - 1.
        foreground: leave out class 0.
        balanced: give every class the same weight.

    Returns:
        A number at most 0; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> e_leep_score([np.eye(2), np.eye(2)[::-1]], np.array([0, 1]))
        0.0
    """
    if not len(softmaxes):
        raise ValueError("`softmaxes` must have at least one member, got 0")
    members = [read_softmax(softmax, labels) for softmax in softmaxes]
    return value_or_warn(_score(members, foreground=foreground, balanced=balanced))


def _score(members: Sequence[Samples], *, foreground: bool, balanced: bool) -> Score:
    joints = [read_joint(joint_mass(member), foreground=foreground, balanced=balanced) for member in members]
    if reasons := [joint.undefined for joint in joints if joint.undefined]:
        return undefined(f"{len(reasons)} of {len(members)} members: {reasons[0]}")
    labels, value = members[0].labels, 0.0
    for place, label in enumerate(joints[0].classes):
        rows = labels == label
        expected = [
            member.rows[rows] @ joint.conditional()[place] for member, joint in zip(members, joints, strict=True)
        ]
        value += joints[0].weight[place] * float(np.log(np.maximum(np.mean(expected, axis=0), LEAST)).mean())
    return Score(float(value), reason=joints[0].note, parts={"members": float(len(members))})
