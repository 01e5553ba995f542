"""LBTC: how well the classes separate in feature-space neighbourhoods of boundary voxels.

For each boundary voxel, the 16 samples nearest to it in feature space (itself and the other boundary voxels included)
form a patch; patches of one label are skipped. With T the spanning tree of a patch,

    leak = edges of T that join two classes / edges of T,   LBTC = 1 - mean over patches of leak

Higher is better; it lies in [0, 1].

Reference: Tang, Zhang, Wang, Zhou, Liu, Chen, "Topology-Driven Transferability Estimation of Medical Foundation Models
for Segmentation", 2026, arXiv 2602.23916 (local part).

Deviation: the released spanning tree drops every edge to sample 0; ours is complete.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from baselines.inputs.arrays import Array, Floats, Integers, Samples, read_labels, read_rows, to_numpy, undefined
from baselines.inputs.points import PointMetric
from baselines.inputs.topology import pairwise_distances, spanning_tree
from benchmark.metric.score import Score, value_or_warn
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
    return value_or_warn(lbtc_from_points(rows, targets, boundary, patch=patch))


def lbtc_from_points(
    rows: Floats, labels: Integers, boundary: "np.ndarray[tuple[int], np.dtype[np.bool_]]", *, patch: int = 16
) -> Score:
    """LBTC from points, some of which lie on a boundary.

    Args:
        rows: (n, d) features.
        labels: (n,) their classes.
        boundary: (n,) whether a point lies on a boundary.
        patch: number of samples in a neighbourhood.

    Returns:
        The score, with the number of patches as part "patches"; NaN if no patch has two classes.

    Raises:
        ValueError: if `patch` is less than 2.
    """
    if patch < 2:
        raise ValueError(f"`patch` must be at least 2 samples, got {patch}")
    if not np.isfinite(rows).all():
        return undefined(f"{int((~np.isfinite(rows)).any(axis=0).sum())} of {rows.shape[1]} channels hold NaN or inf")
    if not boundary.any():
        return undefined("no boundary voxels")
    distances = pairwise_distances(rows)
    leaks = []
    for anchor in np.flatnonzero(boundary):
        near = np.lexsort((labels, distances[anchor]))[:patch]
        if np.ptp(labels[near]) > 0:
            leaks.append(spanning_tree(distances[np.ix_(near, near)]).crossing(labels[near]).mean())
    if not leaks:
        return undefined(f"none of {int(boundary.sum())} patches contains two classes")
    return Score(1 - float(np.mean(leaks)), parts={"patches": float(len(leaks))})


class LBTC(PointMetric):
    """LBTC, computed from sampled points, some of which lie on a boundary; arguments as in `lbtc_score`.

    Args:
        patch: number of samples in a neighbourhood.
        count: maximum number of points, split evenly over the classes.
        layer: tapped layer; -1 is the input of the finest segmentation head.
        seed: seed of the sampling.
    """

    name = "lbtc"
    invariances: ClassVar[frozenset[str]] = frozenset({"rotation", "scale", "shift"})
    exempt: ClassVar[Mapping[str, str]] = {
        "separation": "neighbourhoods of one class are skipped, and perfectly separated classes have no others",
    }

    def __init__(self, *, patch: int = 16, count: int = 2000, layer: int = -1, seed: int = 0) -> None:
        super().__init__(count=count, layer=layer, seed=seed)
        self.patch = patch

    def compute(self, statistics: Statistics | None = None) -> Score:
        """Compute the score from the statistics of a pass, or from the samples given to `update`.

        Args:
            statistics: what `requires` asks for; None for the samples, all of which count as boundary then.

        Returns:
            The score.
        """
        if statistics is None:
            return super().compute()
        points: PointSample = statistics[self.requires[0]]
        if points.table is None:
            return undefined("no samples")
        samples = self._read(points)
        return lbtc_from_points(samples.rows, samples.labels, to_numpy(points.boundary), patch=self.patch)

    def _score(self, samples: Samples) -> Score:
        return lbtc_from_points(samples.rows, samples.labels, np.ones(len(samples.labels), bool), patch=self.patch)
