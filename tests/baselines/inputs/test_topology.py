"""The spanning tree against scipy's, and where scipy's does not serve."""

import numpy as np
import pytest
from scipy.sparse.csgraph import minimum_spanning_tree

from baselines.inputs.topology import pairwise_distances, spanning_tree, tree_ends


@pytest.mark.parametrize(("n", "d"), [(1, 2), (2, 1), (57, 3), (120, 40)])
def test_its_length_is_minimal(n, d):
    distances = pairwise_distances(np.random.default_rng(n).normal(size=(n, d)))
    tree = spanning_tree(distances)
    assert len(tree.lengths) == n - 1
    assert tree.lengths.sum() == pytest.approx(minimum_spanning_tree(distances).sum())
    assert tree.lengths == pytest.approx(distances[tuple(tree.ends.T)])


def test_it_joins_all_samples():
    tree = spanning_tree(pairwise_distances(np.random.default_rng(0).normal(size=(30, 2))))
    reached = {0}
    for _ in range(30):
        reached |= {b for a, b in [*tree.ends.tolist(), *tree.ends[:, ::-1].tolist()] if a in reached}
    assert reached == set(range(30))


def test_equal_samples_are_joined_by_edges_of_0():
    rows = np.array([[0.0], [0.0], [0.0], [2.0]])
    assert sorted(spanning_tree(pairwise_distances(rows)).lengths) == [0, 0, 2]


def test_many_small_trees_are_those_of_one_after_the_other():
    rows = np.random.default_rng(1).integers(0, 3, size=(40, 7, 2)).astype(float)  # with equal samples and distances
    distances = np.stack([pairwise_distances(own) for own in rows])
    assert [ends.tolist() for ends in tree_ends(distances)] == [spanning_tree(own).ends.tolist() for own in distances]


def test_crossing_edges():
    tree = spanning_tree(pairwise_distances(np.array([[0.0], [1.0], [3.0]])))
    assert tree.crossing(np.array([0, 0, 1])).tolist() == [False, True]
