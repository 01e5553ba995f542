"""PARC: rank correlation between pairwise dissimilarities of samples in features and in labels.

    D_x = 1 - corrcoef(standardised features), D_y = 1 - corrcoef(one-hot labels), both (n, n), between samples
    PARC = 100 Spearman(D_x, D_y) over one triangle

Higher is better; it lies in [-100, 100]. D_y has only two values (0 within a class, another between classes), and
equal values share a rank.

Reference: Bolya, Mittapalli, Hoffman, "Scalable Diverse Model Selection for Accessible Transfer Learning", NeurIPS
2021, arXiv 2111.06977.

Deviation: the authors' code computes the correlations of one-hot labels in floating point; rounding splits the ties and
moves their value by up to 45%. Ours keeps the ties. Our PCA is exact, theirs is randomised.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from baselines.inputs.arrays import Array, Floats, Samples, read_samples
from baselines.inputs.points import PointMetric
from benchmark.metric.score import Score, undefined, value_or_warn
from benchmark.metric.standalone import require

# Correlations are rounded to this many decimals, to undo rounding: with two channels, all of them are -1 or 1
DECIMALS = 11


def parc_score(features: Array, labels: Array, *, pca: int | None = None) -> float:
    """100 times the Spearman correlation between feature and label dissimilarities.

    Args:
        features: (n, d) real numbers, d at least 2.
        labels: (n,) integers, 0 .. k - 1.
        pca: number of principal components to keep, at most min(n, d), or None to skip the PCA.

    Returns:
        A number in [-100, 100]; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> labels = np.repeat([0, 1], 20)
        >>> noise = np.random.default_rng(0).normal(size=(40, 3))
        >>> parc_score(noise + np.array([9, 0, 0]) * labels[:, None], labels) > parc_score(noise, labels)
        True
    """
    return value_or_warn(PARC(pca=pca)._score(read_samples(features, labels)))


@dataclass(kw_only=True, eq=False)
class PARC(PointMetric):
    """PARC, computed from sampled points; `pca` as in `parc_score`."""

    name = "parc"
    invariances = frozenset({"scale", "shift", "channel_scale"})
    # Correlations over few channels miss classes that differ equally in all channels
    exempt = frozenset({"separation"})

    pca: int | None = None

    def __post_init__(self) -> None:
        require("pca", self.pca, "be at least 2 components", self.pca is None or self.pca >= 2)

    def _estimate(self, samples: Samples) -> Score:
        rows = _reduced(standardised(samples.rows), self.pca)
        rows = rows - rows.mean(axis=1, keepdims=True)
        length = np.sqrt(np.einsum("nd,nd->n", rows, rows))
        flat = length <= rows.shape[1] * np.finfo(np.float64).eps * np.abs(rows).max(initial=0)
        if flat.any():
            return undefined(f"{int(flat.sum())} samples have the same value in all channels: no correlation")
        rows = rows / length[:, None]
        first, second = np.triu_indices(len(rows), 1)
        differ = samples.labels[first] != samples.labels[second]
        if differ.all():
            return undefined("no two samples share a class")
        ranks = rankdata(np.round(1 - (rows @ rows.T)[first, second], DECIMALS))
        deviation = ranks - ranks.mean()
        spread = np.sqrt(np.sum(deviation**2) * np.sum((differ - differ.mean()) ** 2))
        if spread == 0:
            return undefined("all pairs of samples are equally dissimilar")
        return Score(100 * float(deviation[differ].sum() / spread))


def standardised(rows: Floats) -> Floats:
    """Scale channels (n, d) to mean 0 and variance 1; a constant channel becomes 0."""
    centred = rows - rows.mean(axis=0)
    deviation = np.sqrt(np.mean(centred**2, axis=0))
    varies = deviation > 10 * np.finfo(np.float64).eps * np.abs(rows).max(axis=0)
    return np.where(varies, centred / np.where(varies, deviation, 1), 0)


def _reduced(rows: Floats, pca: int | None) -> Floats:
    if pca is None:
        return rows
    left, singular, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    return np.asarray(left[:, :pca] * singular[:pca])
