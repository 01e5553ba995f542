"""LBTC: how well the classes separate in feature-space neighbourhoods of boundary voxels.

For each boundary voxel, the 16 samples nearest to it in feature space (itself and the other boundary voxels included)
form a patch; patches of one label are skipped. With T the spanning tree of a patch,

    leak = edges of T that join two classes / edges of T,   LBTC = 1 - mean over patches of leak

Higher is better; it lies in [0, 1].

Reference: Tang, Zhang, Wang, Zhou, Liu, Chen, "Topology-Driven Transferability Estimation of Medical Foundation Models
for Segmentation", 2026, arXiv 2602.23916 (local part).

Deviation: the released spanning tree drops every edge to sample 0; ours is complete.
"""

from dataclasses import dataclass

import numpy as np

from baselines.inputs.arrays import (
    Array,
    Booleans,
    Floats,
    Integers,
    Samples,
    finite_columns,
    not_finite,
    read_labels,
    read_rows,
    to_numpy,
)
from baselines.inputs.points import PointMetric
from baselines.inputs.topology import pairwise_distances, tree_ends
from benchmark.metric.score import Score, undefined, value_or_warn
from benchmark.metric.standalone import require
from benchmark.statistics import PointSample, Statistics


def lbtc_score(
    features: Array, labels: Array, boundary_features: Array, boundary_labels: Array, *, patch: int = 16
) -> float:
    """One minus the mean share of cross-class edges in the spanning trees around boundary voxels.

    Args:
        features: (n, d) real numbers of sampled voxels.
        labels: (n,) integers, 0 .. k - 1.
        boundary_features: (b, d) real numbers of voxels with a neighbour of another class.
        boundary_labels: (b,) integers, 0 .. k - 1.
        patch: number of samples in a neighbourhood.

    Returns:
        A number in [0, 1]; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> line, sides = np.array([[0.0], [1.0], [5.0], [6.0]]), np.array([0, 0, 1, 1])
        >>> round(lbtc_score(line, sides, np.array([[3.0]]), np.array([0]), patch=5), 6)
        0.75
    """
    rows, edge = read_rows(features), read_rows(boundary_features, name="boundary_features")
    if edge.shape[1] != rows.shape[1]:
        raise ValueError(f"`boundary_features` must have {rows.shape[1]} channels, got {edge.shape[1]}")
    targets = read_labels(labels, len(rows))
    edge_targets = read_labels(boundary_labels, len(edge), name="boundary_labels")
    rows, targets = np.vstack([rows, edge]), np.concatenate([targets, edge_targets])
    boundary = np.arange(len(targets)) >= len(targets) - len(edge)
    return value_or_warn(LBTC(patch=patch)._of_points(rows, targets, boundary))


def lbtc_from_samples(samples: Samples, boundary: Booleans, *, patch: int = 16) -> Score:
    """LBTC from validated samples, of which those with `boundary` (n,) bool lie on a boundary."""
    return LBTC(patch=patch)._of_points(samples.rows, samples.labels, boundary)


@dataclass(kw_only=True, eq=False)
class LBTC(PointMetric):
    """LBTC, computed from sampled points, some of which lie on a boundary; `patch` as in `lbtc_score`.

    The score has the part "patches".
    """

    name = "lbtc"
    compares = False
    invariances = frozenset({"rotation", "scale", "shift"})
    # Neighbourhoods of one class are skipped, and perfectly separated classes have no others
    exempt = frozenset({"separation"})

    patch: int = 16

    def __post_init__(self) -> None:
        require("patch", self.patch, "be at least 2 samples", self.patch >= 2)

    def compute(self, statistics: Statistics | None = None) -> Score:
        """Compute the score as other metrics do; samples given to `update` all count as boundary."""
        samples = None if statistics is None else self._from_pass(statistics)
        if statistics is None or samples is None:
            return super().compute(statistics)
        points: PointSample = statistics[self.requires[0]]
        return self._of_points(samples.rows, samples.labels, to_numpy(points.boundary))

    def _estimate(self, samples: Samples) -> Score:
        return self._of_points(samples.rows, samples.labels, np.ones(len(samples.labels), bool))

    def _of_points(self, rows: Floats, labels: Integers, boundary: Booleans) -> Score:
        if reason := not_finite(finite_columns(rows)):
            return undefined(reason)
        if not boundary.any():
            return undefined("no boundary voxels")
        distances = pairwise_distances(rows)
        near = np.stack([_nearest(distances[anchor], labels, self.patch) for anchor in np.flatnonzero(boundary)])
        near = near[np.ptp(labels[near], axis=1) > 0]
        if not len(near):
            return undefined(f"none of {int(boundary.sum())} patches contains two classes")
        ends = tree_ends(distances[near[:, :, None], near[:, None, :]])
        joined = np.take_along_axis(labels[near][:, :, None], ends, axis=1)  # (patches, edges, 2) labels
        leaks = (joined[:, :, 0] != joined[:, :, 1]).mean(axis=1)
        return Score(1 - float(leaks.mean()), parts={"patches": float(len(leaks))})


def _nearest(distances: Floats, labels: Integers, count: int) -> Integers:
    """The samples of the smallest distances (n,), nearest first; of equally near ones those of the smallest labels."""
    if count >= len(distances):
        return np.lexsort((labels, distances))
    candidates = np.flatnonzero(distances <= np.partition(distances, count - 1)[count - 1])
    return candidates[np.lexsort((labels[candidates], distances[candidates]))][:count]
