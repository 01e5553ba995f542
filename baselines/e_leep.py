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

from baselines.inputs.arrays import Array
from baselines.inputs.predictions import joint_mass, read_joint, read_members
from benchmark.metric.score import undefined, value_or_warn
from benchmark.statistics.expected_prediction import FLOOR


def e_leep_score(softmaxes: Sequence[Array], labels: Array, **weights: bool) -> float:
    """Mean log of the members' averaged expected empirical prediction.

    Args:
        softmaxes: for each member, (n, z) probabilities at the same samples; z may differ.
        labels: (n,) integers, 0 .. k - 1.
        weights: parameters of `ClassWeights`.

    Returns:
        A number at most 0; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> e_leep_score([np.eye(2), np.eye(2)[::-1]], np.array([0, 1]))
        0.0
    """
    members = read_members(softmaxes, labels)
    joints = [read_joint(joint_mass(member), **weights) for member in members]
    if reasons := [joint.undefined for joint in joints if joint.undefined]:
        return value_or_warn(undefined(f"{len(reasons)} of {len(members)} members: {reasons[0]}"))
    value = 0.0
    for place, label in enumerate(joints[0].classes):
        rows = members[0].labels == label
        expected = [
            member.rows[rows] @ joint.conditional()[place] for member, joint in zip(members, joints, strict=True)
        ]
        value += joints[0].weight[place] * float(np.log(np.maximum(np.mean(expected, axis=0), FLOOR)).mean())
    return float(value)
