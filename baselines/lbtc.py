"""LBTC: how rarely the classes mix in the neighbourhoods of boundary voxels.

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
    """One minus the mean share of cross-class tree edges around boundary voxels.

    Args:
        features: (n, d) real numbers of sampled voxels.
        labels: (n,) integers, 0 .. k - 1.
        boundary_features: (b, d) real numbers of voxels with a neighbour of another class.
        boundary_labels: (b,) integers, 0 .. k - 1.
        patch: samples in a neighbourhood.

    Returns:
        A number in [0, 1]; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument breaks its rule.

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
    """LBTC of points, some of which lie on a boundary.

    Args:
        rows: (n, d) features.
        labels: (n,) their classes.
        boundary: (n,) whether a point lies on a boundary.
        patch: samples in a neighbourhood.

    Returns:
        The score, with the patches counted as part "patches"; NaN where no patch holds two classes.

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
        return undefined(f"none of {int(boundary.sum())} patches holds two classes")
    return Score(1 - float(np.mean(leaks)), parts={"patches": float(len(leaks))})


class LBTC(PointMetric):
    """LBTC as a metric of sampled points, some of which lie on a boundary; arguments as `lbtc_score`.

    Args:
        patch: samples in a neighbourhood.
        count: most points, as many of each class as there are.
        layer: -1 the input of the finest segmentation head.
        seed: of the sampling.
    """

    name = "lbtc"
    invariances: ClassVar[frozenset[str]] = frozenset({"rotation", "scale", "shift"})
    exempt: ClassVar[Mapping[str, str]] = {
        "separation": "neighbourhoods of one class are left out, and perfect separation has no other",
    }

    def __init__(self, *, patch: int = 16, count: int = 2000, layer: int = -1, seed: int = 0) -> None:
        super().__init__(count=count, layer=layer, seed=seed)
        self.patch = patch

    def compute(self, statistics: Statistics | None = None) -> Score:
        """The score of a pass over a target, or without an argument of the samples updated with.

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
