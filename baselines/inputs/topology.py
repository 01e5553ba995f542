"""Euclidean minimum spanning tree of samples, and the edges that join two classes."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from baselines.inputs.arrays import Booleans, Floats, Integers


@dataclass(frozen=True)
class SpanningTree:
    """The n - 1 edges of a minimum spanning tree.

    Attributes:
        ends: (n - 1, 2) int64, the two samples joined by each edge.
        lengths: (n - 1,) float64, length of each edge.
    """

    ends: Integers
    lengths: Floats

    def crossing(self, labels: Integers) -> Booleans:
        """Whether each edge joins two classes, (n - 1,)."""
        return np.asarray(labels[self.ends[:, 0]] != labels[self.ends[:, 1]])


def spanning_tree(distances: Floats) -> SpanningTree:
    """Compute the minimum spanning tree of a set; see `tree_ends`.

    Args:
        distances: (n, n) symmetric, finite, n at least 1.

    Example:
        >>> tree = spanning_tree(pairwise_distances(np.array([[0.0], [0.0], [3.0], [4.0]])))
        >>> sorted(tree.lengths.tolist())
        [0.0, 1.0, 3.0]
    """
    (ends,) = tree_ends(distances[None])
    return SpanningTree(ends, distances[ends[:, 0], ends[:, 1]])


def tree_ends(distances: Floats) -> Integers:
    """Compute the minimum spanning trees of several sets by Prim's algorithm on their dense distance matrices.

    SciPy's sparse version treats a distance of 0 as a missing edge, but features of ReLU networks can coincide.

    Args:
        distances: (p, n, n), for each set as in `spanning_tree`.

    Returns:
        (p, n - 1, 2) int64, the two samples joined by each edge.

    Example:
        >>> tree_ends(pairwise_distances(np.array([[0.0], [4.0], [3.0]]))[None]).tolist()
        [[[0, 2], [2, 1]]]
    """
    p, n = distances.shape[:2]
    sets = np.arange(p)
    ends = np.empty((p, n - 1, 2), dtype=np.int64)
    nearest, reach = np.zeros((p, n), dtype=np.int64), distances[:, 0].copy()
    joined = np.zeros((p, n), dtype=bool)
    joined[:, 0], reach[:, 0] = True, np.inf
    for edge in range(n - 1):
        arrival = reach.argmin(axis=1)
        ends[:, edge, 0], ends[:, edge, 1] = nearest[sets, arrival], arrival
        joined[sets, arrival], reach[sets, arrival] = True, np.inf
        fresh = distances[sets, arrival]
        closer = (fresh < reach) & ~joined
        reach, nearest = np.where(closer, fresh, reach), np.where(closer, arrival[:, None], nearest)
    return ends


def pairwise_distances(rows: Floats) -> Floats:
    """Euclidean distances (n, n) between rows (n, d), exactly 0 between equal rows."""
    return np.asarray(cdist(rows, rows))
