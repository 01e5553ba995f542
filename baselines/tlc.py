"""TLC: how well the spanning trees of the encoder's stages keep to the classes.

For each stage of the encoder, T is the Euclidean minimum spanning tree of all samples. For class c, over the edges of T
with at least one end in c,

    rho_c = edges that join two classes / edges,   TLC = mean over stages of 1 - mean_c rho_c

Higher is better; it lies in [0, 1].

Reference: Tang, Zhang, Wang, Zhou, Liu, Chen, "Topology-Driven Transferability Estimation of Medical Foundation Models
for Segmentation", 2026, arXiv 2602.23916 (its released code, for classification and regression).

Deviations: theirs reads pooled features of whole images, at most 800 a class; to read voxels, each with the features of
every encoder stage interpolated to it, is ours, as is the limit of 4,000 points in all, so that fewer a class are
sampled for more than 5 classes. The tree is complete. Which modules are the stages is discovered
(`benchmark.sources.networks.stages`).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from baselines.inputs.arrays import Array, Samples
from baselines.inputs.stages import StageMetric, StageSamples, read_stages, why_unknown, with_stage
from baselines.inputs.topology import SpanningTree, pairwise_distances, spanning_tree
from benchmark.metric.score import Score, undefined, value_or_warn


def tlc_score(encoder: Sequence[Array], labels: Array) -> float:
    """One minus the mean share of edges between classes among a class's edges, averaged over classes and stages.

    Args:
        encoder: (n, d) real numbers for each stage of the encoder, where d may differ; the rows are the same samples.
        labels: (n,) integers, 0 .. k - 1.

    Returns:
        A number in [0, 1]; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if a shape or a type is wrong, or there is no stage.

    Example:
        >>> line = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> tlc_score([line], np.array([0, 0, 1, 1]))
        0.5
    """
    stages = read_stages(encoder, labels, name="encoder")
    return value_or_warn(TLC()._of_encoder(stages))


class TLC(StageMetric):
    """TLC over the encoder's stages, computed from sampled points; NaN where all samples coincide in a stage.

    The score has the parts "stage_1", "stage_2", ..., the values of the stages from fine to coarse.
    """

    name = "tlc"
    invariances = frozenset({"rotation", "scale", "shift"})

    def _score(self, stages: StageSamples) -> Score:
        return self._of_encoder(stages.encoder, stages.absent)

    def _of_encoder(self, encoder: Mapping[str, Samples], absent: str = "") -> Score:
        if reason := why_unknown(encoder, "encoder", absent):
            return undefined(reason)
        values = []
        for name, samples in encoder.items():
            tree = spanning_tree(pairwise_distances(samples.rows))
            if not tree.lengths.any():
                return undefined(with_stage("all samples coincide", "encoder", name, encoder))
            values.append(_consistency(tree, samples))
        parts = {f"stage_{number}": value for number, value in enumerate(values, 1)}
        return Score(float(np.mean(values)), parts=parts)


def _consistency(tree: SpanningTree, samples: Samples) -> float:
    crossing, ends = tree.crossing(samples.labels), samples.labels[tree.ends]
    shares = [crossing[(ends == label).any(axis=1)].mean() for label in np.unique(samples.labels)]
    return 1 - float(np.mean(shares))
