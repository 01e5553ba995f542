"""kNN: leave-one-out accuracy of the k nearest neighbours in feature space.

    kNN = mean_i [majority label of the k nearest other samples = y_i]

Euclidean distance on the raw features. Ties between labels and between equally near samples go to the smallest label,
so the order of the samples does not matter. Higher is better; it lies in [0, 1].

Reference: as a transferability baseline in Bolya, Mittapalli, Hoffman, "Scalable Diverse Model Selection for Accessible
Transfer Learning", NeurIPS 2021, arXiv 2111.06977.

Deviation: with `released_ties`, as in the authors' code, a sample whose k neighbours all differ in label scores 1/k.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from baselines.inputs.arrays import Array, Floats, Integers, Samples, read_samples
from baselines.inputs.points import PointMetric
from benchmark.metric.score import Score, undefined, value_or_warn
from benchmark.metric.standalone import require

# Rows per block of the distance matrix: 512 rows of 2,000 distances are 8 MB
BLOCK = 512


def knn_score(features: Array, labels: Array, **options: object) -> float:
    """Leave-one-out accuracy of the k nearest neighbours.

    Args:
        features: (n, d) real numbers.
        labels: (n,) integers, 0 .. k - 1.
        options: parameters of `KNN`.

    Returns:
        A number in [0, 1]; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> knn_score(np.array([[0.0], [1.0], [5.0], [6.0]]), np.array([0, 0, 1, 1]), k=1)
        1.0
    """
    return value_or_warn(KNN.of_samples(**options)._score(read_samples(features, labels)))


@dataclass(kw_only=True, eq=False)
class KNN(PointMetric):
    """kNN, computed from sampled points.

    Attributes:
        k: number of neighbours that vote.
        released_ties: a sample whose k neighbours all differ scores 1/k.
    """

    name = "knn"
    invariances = frozenset({"rotation", "scale", "shift"})
    # Of equally frequent labels the smallest wins
    exempt = frozenset({"foreground_order", "class_order"})

    k: int = 5
    released_ties: bool = False

    def __post_init__(self) -> None:
        require("k", self.k, "be at least 1", self.k >= 1)

    def _estimate(self, samples: Samples) -> Score:
        if len(samples.rows) <= self.k:
            return undefined(f"{len(samples.rows)} samples are too few for {self.k} neighbours each")
        votes = neighbour_labels(samples.rows, samples.labels, self.k)
        count = (votes[:, :, None] == np.arange(samples.k)).sum(axis=1)
        right = (count.argmax(axis=1) == samples.labels).astype(np.float64)
        if self.released_ties and self.k > 1:
            right[count.max(axis=1) == 1] = 1 / self.k
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
