"""GRTD: how much the spanning tree shortens when edges between classes are capped, averaged over classes.

T is the Euclidean minimum spanning tree of all samples and lambda the median of their pairwise distances. For class c,
over the edges of T that touch it,

    delta_c = (sum w - sum over cross-class edges of min(w, lambda)) / (sum w + 1e-8),   GRTD = - mean_c delta_c

It lies in [-1, 0]. Higher is better, as in the paper. However, the value falls towards -1 as classes separate, because
only the few cross-class edges that connect the classes remain, so interpret a negative agreement with care.

Reference: Tang, Zhang, Wang, Zhou, Liu, Chen, "Topology-Driven Transferability Estimation of Medical Foundation Models
for Segmentation", 2026, arXiv 2602.23916 (global part).

Deviation: the released spanning tree drops every edge to sample 0; ours is complete. Where several trees are minimal
(equal distances), the order of the samples decides which is used.
"""

import numpy as np

from baselines.inputs.arrays import Array, Samples, read_samples
from baselines.inputs.points import PointMetric
from baselines.inputs.topology import SpanningTree, pairwise_distances, spanning_tree
from benchmark.metric.score import Score, undefined, value_or_warn


def grtd_score(features: Array, labels: Array) -> float:
    """Minus the mean over classes of the share of the tree length that remains after capping.

    Args:
        features: (n, d) real numbers.
        labels: (n,) integers, 0 .. k - 1.

    Returns:
        A number in [-1, 0]; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if a shape or a type is wrong.

    Example:
        >>> round(grtd_score(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1])), 6)
        -0.5
    """
    return value_or_warn(grtd_from_samples(read_samples(features, labels)))


def grtd_from_samples(samples: Samples) -> Score:
    """GRTD from validated samples, with the parts "tree_length" and "crossing" (share of edges between classes)."""
    return GRTD()._score(samples)


class GRTD(PointMetric):
    """GRTD, computed from sampled points; NaN where all samples coincide."""

    name = "grtd"
    invariances = frozenset({"rotation", "scale", "shift"})
    # It falls as the classes separate, contrary to the paper's claim
    exempt = frozenset({"separation"})

    def _estimate(self, samples: Samples) -> Score:
        distances = pairwise_distances(samples.rows)
        tree = spanning_tree(distances)
        if not tree.lengths.any():
            return undefined("all samples coincide")
        limit = float(np.median(distances[np.triu_indices(len(distances), 1)]))
        gains = [_gain(tree, samples, label, limit) for label in np.unique(samples.labels)]
        crossing = tree.crossing(samples.labels).mean()
        parts = {"tree_length": float(tree.lengths.sum()), "crossing": float(crossing)}
        return Score(0.0 - float(np.mean(gains)), parts=parts)


def _gain(tree: SpanningTree, samples: Samples, label: int, limit: float) -> float:
    touches = (samples.labels[tree.ends] == label).any(axis=1)
    crossing = touches & tree.crossing(samples.labels)
    whole = tree.lengths[touches].sum()
    return float((whole - np.minimum(tree.lengths[crossing], limit).sum()) / (whole + 1e-8))
