"""OTCE: the cost of transporting the source's data to the target's, and how well source labels tell target labels.

    plan = exact optimal transport of uniform weights with cost |x_s - x_t|^2,   W = sum of plan times cost
    J(y_s, y_t) = plan summed over the pairs of these labels,   CE = - sum J log(J / J(y_s)), in nats
    OTCE = - weight_distance W - weight_entropy CE

Higher is better. Needs features and labels of the SOURCE's data.

References: Tan, Li, Huang, "OTCE: A Transferability Metric for Cross-Domain Cross-Task Representations", CVPR 2021,
arXiv 2103.13843; Tan, Li, Huang, "Transferability Estimation for Semantic Segmentation Task", 2021, arXiv 2109.15242,
later "Efficient Prediction of Model Transferability in Semantic Segmentation Tasks", ICIP 2023.

Deviations: the first paper fits the two weights on auxiliary tasks; ours are arguments, 1 by default (the second keeps
CE alone, that is weight_distance 0). The second transports by Sinkhorn with entropic regularisation 0.1 and averages
over ten draws of pixels; ours transports exactly, one draw. W has the squared unit of the features.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from baselines.inputs.arrays import Array, read_labels, read_rows, undefined
from baselines.inputs.source_pass import SourcePassMetric
from benchmark.metric.score import Score, value_or_warn
from benchmark.statistics import PointSample

# Of the network simplex: 2,000 by 2,000 samples take some hundred thousand
MOST_PIVOTS = 10_000_000


@dataclass(frozen=True)
class OtceElements:
    """What OTCE weighs.

    Attributes:
        distance: W, in squared feature units.
        conditional_entropy: CE of the target label given the source label, in nats.
    """

    distance: float
    conditional_entropy: float


def otce_score(
    source_features: Array,
    source_labels: Array,
    target_features: Array,
    target_labels: Array,
    *,
    weight_distance: float = 1.0,
    weight_entropy: float = 1.0,
) -> float:
    """Minus the weighted sum of transport cost and conditional entropy.

    Args:
        source_features: (s, d) real numbers, of the source's own data through the source network.
        source_labels: (s,) integers, its labels.
        target_features: (n, d) real numbers, of the target through the same network.
        target_labels: (n,) integers, 0 .. k - 1.
        weight_distance: of W.
        weight_entropy: of CE.

    Returns:
        A number at most 0; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument breaks its rule.

    Example:
        >>> features, labels = np.array([[0.0], [5.0]]), np.array([0, 1])
        >>> otce_score(features, labels, features + 1, labels, weight_distance=0.5)
        -0.5
    """
    weights = {"weight_distance": weight_distance, "weight_entropy": weight_entropy}
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
    """OTCE with its elements; the arguments are those of `otce_score`.

    Args:
        source_features: (s, d) real numbers.
        source_labels: (s,) integers.
        target_features: (n, d) real numbers.
        target_labels: (n,) integers.
        weight_distance: of W.
        weight_entropy: of CE.

    Returns:
        The score, with the parts "distance" and "conditional_entropy".

    Raises:
        ValueError: if an argument breaks its rule.
    """
    source = read_rows(source_features, name="source_features")
    target = read_rows(target_features, name="target_features")
    if source.shape[1] != target.shape[1]:
        raise ValueError(f"`target_features` must have the source's {source.shape[1]} channels, got {target.shape[1]}")
    read_labels(source_labels, len(source), name="source_labels")
    read_labels(target_labels, len(target), name="target_labels")
    if not len(source) or not len(target):
        return undefined("no samples")
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        return undefined("the features hold NaN or inf")
    found = otce_elements(source_features, source_labels, target_features, target_labels)
    value = -weight_distance * found.distance - weight_entropy * found.conditional_entropy
    return Score(value, parts={"distance": found.distance, "conditional_entropy": found.conditional_entropy})


def otce_elements(
    source_features: Array, source_labels: Array, target_features: Array, target_labels: Array
) -> OtceElements:
    """W and CE of finite samples; the arguments are those of `otce_score`.

    Args:
        source_features: (s, d) finite.
        source_labels: (s,) integers.
        target_features: (n, d) finite.
        target_labels: (n,) integers.

    Returns:
        Both elements.

    Example:
        >>> features, labels = np.array([[0.0], [5.0]]), np.array([0, 1])
        >>> otce_elements(features, labels, features + 1, np.array([0, 0]))
        OtceElements(distance=1.0, conditional_entropy=0.0)
    """
    from ot import emd

    source = read_rows(source_features, name="source_features")
    target = read_rows(target_features, name="target_features")
    labels = read_labels(source_labels, len(source)), read_labels(target_labels, len(target))
    cost = cdist(source, target, "sqeuclidean")
    weights = (np.full(len(rows), 1 / len(rows)) for rows in (source, target))
    plan = np.asarray(emd(*weights, cost, numItermax=MOST_PIVOTS))
    joint = np.zeros((labels[0].max() + 1, labels[1].max() + 1))
    np.add.at(joint, (labels[0][:, None], labels[1][None]), plan)
    given = np.divide(joint, joint.sum(axis=1, keepdims=True), out=np.ones_like(joint), where=joint > 0)
    return OtceElements(float(np.sum(plan * cost)), abs(float(np.sum(joint * np.log(given)))))


class OTCE(SourcePassMetric):
    """OTCE as a metric of two passes through one source: over the target, and over the source's own data.

    Args:
        weight_distance: of W.
        weight_entropy: of CE.
        count: most points of each, as many of each class as there are.
        layer: -1 the input of the finest segmentation head.
        seed: of the sampling.
    """

    name = "otce"

    def __init__(
        self,
        *,
        weight_distance: float = 1.0,
        weight_entropy: float = 1.0,
        count: int = 2000,
        layer: int = -1,
        seed: int = 0,
    ) -> None:
        super().__init__(count=count, layer=layer, seed=seed)
        self.weights = {"weight_distance": weight_distance, "weight_entropy": weight_entropy}

    def _score(self, target: PointSample, source: PointSample) -> Score:
        return otce_from_samples(source.features, source.labels, target.features, target.labels, **self.weights)
