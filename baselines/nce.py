"""NCE: minus the conditional entropy of the target's label given the source's predicted class.

    NCE = - H(y | argmax p) = sum_(c, z) J(c, z) log P(c given z),  J the hard joint, in nats

Higher (closer to 0) is better. It is a function of the hard joint, so one pass is enough.

Reference: Tran, Nguyen, Hassner, "Transferability and Hardness of Supervised Classification Tasks", ICCV 2019,
arXiv 1908.08142. Deviation: none.
"""

import numpy as np

from baselines.inputs.arrays import Array, read_labels, to_numpy
from baselines.inputs.predictions import JointProbability, WeightedJointMetric
from benchmark.metric.score import Score, value_or_warn
from benchmark.statistics import JointHistogram


def nce_score(predictions: Array, labels: Array, **weights: bool) -> float:
    """Minus the entropy of the label given the predicted source class.

    Args:
        predictions: (n,) integers, the predicted source classes, or an (n, z) softmax, whose argmax is used.
        labels: (n,) integers, 0 .. k - 1.
        weights: parameters of `ClassWeights`.

    Returns:
        A number in [-log k, 0]; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> nce_score(np.array([3, 3, 1]), np.array([0, 0, 1]))
        0.0
    """
    table = to_numpy(predictions)
    if table.ndim == 1:
        classes = read_labels(table, len(table), name="predictions")
        table = np.eye(int(classes.max(initial=0)) + 1)[classes]
    return value_or_warn(NCE.of_samples(**weights)._of_softmax(table, labels))


def nce_from_joint(histogram: JointHistogram, **weights: bool) -> Score:
    """NCE from the hard joint of the target's labels and the source's predicted classes."""
    return NCE.of_samples(**weights)._score(histogram)


class NCE(WeightedJointMetric):
    """NCE, computed in one pass over the target."""

    name = "nce"
    invariances = frozenset({"duplication"})
    hard = True

    def _estimate(self, joint: JointProbability) -> Score:
        conditional = joint.conditional()
        logs = np.log(conditional, out=np.zeros_like(conditional), where=conditional > 0)
        return Score(float(np.sum(joint.joint * logs)), reason=joint.note)
