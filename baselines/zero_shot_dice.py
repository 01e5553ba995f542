"""Zero-shot Dice: how well the source's own prediction already segments the target's classes.

    Dice(c, z) = 2 |y = c and argmax p = z| / (|y = c| + |argmax p = z|)
    score = max over one-to-one matchings of foreground classes to source classes of mean_c Dice(c, matched z)

Higher is better; it lies in [0, 1]. A target class without a matching source class scores 0. It is a function of the
hard joint, so one pass is enough and voxels are pooled over cases.

It assumes that a source that already segments the target needs little tuning.

Reference: the same idea as an estimate of transferability is in Schlimme, "DirectTransEst", bachelor's thesis, Hasso
Plattner Institute, 2023. The matching and the pooling over cases are ours.
"""

from scipy.optimize import linear_sum_assignment

from baselines.inputs.arrays import Array, Floats, finite_columns, left_out, not_finite, present, read_softmax, to_numpy
from baselines.inputs.predictions import joint_mass
from benchmark.metric.score import Score, undefined, value_or_warn
from benchmark.metric.standalone import JointMetric
from benchmark.statistics import JointHistogram


def zero_shot_dice_score(softmax: Array, labels: Array) -> float:
    """Mean foreground Dice of the source's prediction under the best matching of labels.

    Args:
        softmax: (n, z) source probabilities.
        labels: (n,) integers, 0 .. k - 1; 0 is background.

    Returns:
        A number in [0, 1]; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> import numpy as np
        >>> zero_shot_dice_score(np.eye(3)[[0, 2, 2, 1]], np.array([0, 1, 1, 1]))
        0.8
    """
    return value_or_warn(_score(joint_mass(read_softmax(softmax, labels), hard=True)))


def zero_shot_dice_from_joint(histogram: JointHistogram) -> Score:
    """Zero-shot Dice from the hard joint of the target's labels and the source's predicted classes."""
    return _score(to_numpy(histogram.hard))


class ZeroShotDice(JointMetric):
    """Zero-shot Dice, computed in one pass over the target."""

    name = "zero_shot_dice"
    invariances = frozenset({"duplication"})
    # Class 0 is the background
    exempt = frozenset({"class_order"})

    def _score(self, samples: JointHistogram) -> Score:
        return zero_shot_dice_from_joint(samples)


def _score(hard: Floats) -> Score:
    if reason := not_finite(finite_columns(hard), "source classes"):
        return undefined(reason)
    labels, empty = present(hard.sum(axis=1), foreground=True)
    if not len(labels):
        return undefined("no foreground samples")
    dice = 2 * hard[labels] / (hard[labels].sum(axis=1)[:, None] + hard.sum(axis=0))
    return Score(float(dice[linear_sum_assignment(dice, maximize=True)].sum() / len(labels)), reason=left_out(empty))
