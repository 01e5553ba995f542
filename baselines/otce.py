"""OTCE: the cost of transporting the source's data to the target's, and how well source labels predict target labels.

    plan = exact optimal transport of uniform weights with cost |x_s - x_t|^2,   W = sum of plan times cost
    J(y_s, y_t) = plan summed over the pairs of these labels,   CE = - sum J log(J / J(y_s)), in nats
    OTCE = - weight_distance W - weight_entropy CE

Higher is better. Needs features and labels of the source's own data.

References: Tan, Li, Huang, "OTCE: A Transferability Metric for Cross-Domain Cross-Task Representations", CVPR 2021,
arXiv 2103.13843; Tan, Li, Huang, "Transferability Estimation for Semantic Segmentation Task", 2021, arXiv 2109.15242,
later "Efficient Prediction of Model Transferability in Semantic Segmentation Tasks", ICIP 2023.

Deviations: the first paper fits the two weights on auxiliary tasks; ours are arguments, 1 by default. The second keeps
only CE (weight_distance 0), uses Sinkhorn transport with entropic regularisation 0.1 and averages over ten draws of
pixels; ours uses exact transport of one draw. W is in squared feature units.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from baselines.inputs.arrays import Array, read_labels, read_rows
from baselines.inputs.points import SourcePassMetric
from benchmark.metric.score import Score, undefined, value_or_warn
from benchmark.statistics import PointSample

# Limit of the network simplex; 2,000 by 2,000 samples take a few hundred thousand pivots
MOST_PIVOTS = 10_000_000


@dataclass(frozen=True)
class OtceElements:
    """The two terms of OTCE.

    Attributes:
        distance: W, in squared feature units.
        conditional_entropy: CE of the target label given the source label, in nats.
    """

    distance: float
    conditional_entropy: float


def otce_score(
    source_features: Array, source_labels: Array, target_features: Array, target_labels: Array, **weights: float
) -> float:
    """Minus the weighted sum of transport cost and conditional entropy.

    Args:
        source_features: (s, d) real numbers, features of the source's own data.
        source_labels: (s,) integers, labels of the source's own data.
        target_features: (n, d) real numbers, features of the target from the same network.
        target_labels: (n,) integers, 0 .. k - 1.
        weights: `weight_distance` and `weight_entropy`, as in `OTCE`.

    Returns:
        A number at most 0; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> features, labels = np.array([[0.0], [5.0]]), np.array([0, 1])
        >>> otce_score(features, labels, features + 1, labels, weight_distance=0.5)
        -0.5
    """
    return value_or_warn(otce_from_samples(source_features, source_labels, target_features, target_labels, **weights))


def otce_from_samples(
    source_features: Array,
    source_labels: Array,
    target_features: Array,
    target_labels: Array,
    *,
    weight_distance: float = 1.0,
    weight_entropy: float = 1.0,
) -> Score:
    """OTCE with its two terms as parts; arguments and errors as in `otce_score`."""
    source = read_rows(source_features, name="source_features")
    target = read_rows(target_features, name="target_features")
    if source.shape[1] != target.shape[1]:
        raise ValueError(f"`target_features` must have the source's {source.shape[1]} channels, got {target.shape[1]}")
    if not len(source) or not len(target):
        return undefined("no samples")
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        return undefined("the features hold NaN or inf")
    terms = otce_elements(source_features, source_labels, target_features, target_labels)
    value = -weight_distance * terms.distance - weight_entropy * terms.conditional_entropy
    return Score(value, parts={"distance": terms.distance, "conditional_entropy": terms.conditional_entropy})


def otce_elements(
    source_features: Array, source_labels: Array, target_features: Array, target_labels: Array
) -> OtceElements:
    """Compute W and CE from finite samples; the arguments are those of `otce_score`.

    Example:
        >>> features, labels = np.array([[0.0], [5.0]]), np.array([0, 1])
        >>> otce_elements(features, labels, features + 1, np.array([0, 0]))
        OtceElements(distance=1.0, conditional_entropy=0.0)
    """
    from ot import emd

    source = read_rows(source_features, name="source_features")
    target = read_rows(target_features, name="target_features")
    labels = (
        read_labels(source_labels, len(source), name="source_labels"),
        read_labels(target_labels, len(target), name="target_labels"),
    )
    cost = cdist(source, target, "sqeuclidean")
    weights = (np.full(len(rows), 1 / len(rows)) for rows in (source, target))
    plan = np.asarray(emd(*weights, cost, numItermax=MOST_PIVOTS))
    joint = np.zeros((labels[0].max() + 1, labels[1].max() + 1))
    np.add.at(joint, (labels[0][:, None], labels[1][None]), plan)
    conditional = np.divide(joint, joint.sum(axis=1, keepdims=True), out=np.ones_like(joint), where=joint > 0)
    return OtceElements(float(np.sum(plan * cost)), abs(float(np.sum(joint * np.log(conditional)))))


@dataclass(kw_only=True, eq=False)
class OTCE(SourcePassMetric):
    """OTCE, computed from two passes through the source: over the target, and over the source's own data.

    Attributes:
        weight_distance: weight of W.
        weight_entropy: weight of CE.
    """

    name = "otce"

    weight_distance: float = 1.0
    weight_entropy: float = 1.0

    def _score(self, target: PointSample, source: PointSample) -> Score:
        weights = {"weight_distance": self.weight_distance, "weight_entropy": self.weight_entropy}
        return otce_from_samples(source.features, source.labels, target.features, target.labels, **weights)
