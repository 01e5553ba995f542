"""kNN: leave-one-out accuracy of the k nearest neighbours in feature space.

    kNN = mean_i [majority label of the k nearest other samples = y_i]

Euclidean distance on the raw features. Ties between labels and between equally near samples go to the smallest label,
so the order of the samples does not matter. Higher is better; it lies in [0, 1].

Reference: as a transferability baseline in Bolya, Mittapalli, Hoffman, "Scalable Diverse Model Selection for Accessible
Transfer Learning", NeurIPS 2021, arXiv 2111.06977.

Deviation: with `released_ties`, as in the authors' code, a sample whose k neighbours all differ in label scores 1/k.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from scipy.spatial.distance import cdist

from baselines.inputs.arrays import Array, Floats, Integers, Samples, read_samples, undefined
from baselines.inputs.points import PointMetric
from benchmark.metric.score import Score, value_or_warn

# Rows per block of the distance matrix: 512 rows of 2,000 distances are 8 MB
BLOCK = 512


def knn_score(features: Array, labels: Array, *, k: int = 5, released_ties: bool = False) -> float:
    """Leave-one-out accuracy of the k nearest neighbours.

    Args:
        features: (n, d) real numbers.
        labels: (n,) integers, 0 .. k - 1.
        k: number of neighbours that vote.
        released_ties: a sample whose k neighbours all differ scores 1/k.

    Returns:
        A number in [0, 1]; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> knn_score(np.array([[0.0], [1.0], [5.0], [6.0]]), np.array([0, 0, 1, 1]), k=1)
        1.0
    """
    return value_or_warn(knn_from_samples(read_samples(features, labels), k=k, released_ties=released_ties))


def knn_from_samples(samples: Samples, *, k: int = 5, released_ties: bool = False) -> Score:
    """KNN from validated samples; the arguments are those of `knn_score`.

    Args:
        samples: features and labels.
        k: number of neighbours that vote.
        released_ties: a sample whose k neighbours all differ scores 1/k.

    Returns:
        The score; NaN with k samples or fewer.

    Raises:
        ValueError: if `k` is less than 1.
    """
    if k < 1:
        raise ValueError(f"`k` must be at least 1, got {k}")
    if samples.undefined:
        return undefined(samples.undefined)
    if len(samples.rows) <= k:
        return undefined(f"{len(samples.rows)} samples are too few for {k} neighbours each")
    votes = neighbour_labels(samples.rows, samples.labels, k)
    count = (votes[:, :, None] == np.arange(samples.k)).sum(axis=1)
    right = (count.argmax(axis=1) == samples.labels).astype(np.float64)
    if released_ties and k > 1:
        right[count.max(axis=1) == 1] = 1 / k
    return Score(float(right.mean()))


def neighbour_labels(rows: Floats, labels: Integers, k: int) -> Integers:
    """Labels (n, k) of the k nearest other samples; equally near samples are ordered by label."""
    neighbours = np.empty((len(rows), k), dtype=np.int64)
    for start in range(0, len(rows), BLOCK):
        distance = cdist(rows[start : start + BLOCK], rows)
        own = np.arange(len(distance))
        distance[own, start + own] = np.inf
        nearest = np.argpartition(distance, k - 1, axis=1)[:, :k]
        apart = np.take_along_axis(distance, nearest, axis=1)
        neighbours[start : start + BLOCK] = np.take_along_axis(
            labels[nearest], np.lexsort((labels[nearest], apart), axis=1), axis=1
        )
        near = distance <= apart.max(axis=1, keepdims=True)
        for place in np.flatnonzero(near.sum(axis=1) > k):  # ties at the k-th distance: take the smallest labels
            candidates = np.flatnonzero(near[place])
            order = np.lexsort((labels[candidates], distance[place, candidates]))
            neighbours[start + place] = labels[candidates[order[:k]]]
    return neighbours


class KNN(PointMetric):
    """kNN, computed from sampled points; arguments as in `knn_score`.

    Args:
        k: number of neighbours that vote.
        released_ties: a sample whose k neighbours all differ scores 1/k.
        count: maximum number of points, split evenly over the classes.
        layer: tapped layer; -1 is the input of the finest segmentation head.
        seed: seed of the sampling.
    """

    name = "knn"
    invariances: ClassVar[frozenset[str]] = frozenset({"rotation", "scale", "shift"})
    exempt: ClassVar[Mapping[str, str]] = {
        "foreground_order": "of equally frequent labels the smallest wins",
        "class_order": "of equally frequent labels the smallest wins",
    }

    def __init__(
        self,
        *,
        k: int = 5,
        released_ties: bool = False,
        count: int = 2000,
        layer: int = -1,
        seed: int = 0,
    ) -> None:
        super().__init__(count=count, layer=layer, seed=seed)
        self.options: dict[str, Any] = {"k": k, "released_ties": released_ties}

    def _score(self, samples: Samples) -> Score:
        return knn_from_samples(samples, **self.options)
