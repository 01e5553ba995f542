"""NLEEP: LEEP with a Gaussian mixture on the features in place of the source's classifier.

    X <- PCA that keeps 80% of the variance;   p_i = posterior of x_i under a full-covariance mixture of 5k components
    NLEEP = LEEP(p, y)

Higher (closer to 0) is better.

Reference: Li, Jia, Sang, Zhu, Green, Wang, Gong, "Ranking Neural Checkpoints", CVPR 2021, arXiv 2011.11200.

Deviation: none in the method. As in the released code, the mixture is fitted by EM from k-means in float32, so the
value depends on `random_state`, on the order of the samples and on the version of scikit-learn. A mixture that
collapses on few samples gives NaN. scikit-learn adds 1e-6 to variances, so features much smaller than 1e-3 are not
separated.
"""

import warnings
from dataclasses import dataclass

import numpy as np

from baselines.inputs.arrays import Array, Floats, Samples, read_samples
from baselines.inputs.points import PointMetric
from baselines.leep import leep_from_samples
from benchmark.metric.score import Score, undefined, value_or_warn
from benchmark.metric.standalone import require

# float32 has 7 digits: offsets of more standard deviations than this are removed first; smaller ones stay, as released
FAR = 1000


def nleep_score(features: Array, labels: Array, **options: object) -> float:
    """LEEP computed on the posteriors of a Gaussian mixture.

    Args:
        features: (n, d) real numbers.
        labels: (n,) integers, 0 .. k - 1.
        options: parameters of `NLEEP`.

    Returns:
        A number at most 0; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> labels = np.repeat([0, 1], 60)
        >>> noise = np.random.default_rng(0).normal(size=(120, 2))
        >>> nleep_score(noise + 9 * labels[:, None], labels) > nleep_score(noise, labels)
        True
    """
    return value_or_warn(NLEEP.of_samples(**options)._score(read_samples(features, labels)))


@dataclass(kw_only=True, eq=False)
class NLEEP(PointMetric):
    """NLEEP, computed from sampled points.

    Attributes:
        pca: share of the variance to keep, in (0, 1), or None to skip the PCA.
        components: number of mixture components; 5 per class if None.
        random_state: seed of the k-means initialisation.
    """

    name = "nleep"
    # EM starts from k-means, which draws its centres by position; merged chunks have another order
    exempt = frozenset({"sample_order", "chunks"})

    pca: float | None = 0.8
    components: int | None = None
    random_state: int = 123

    def __post_init__(self) -> None:
        require("pca", self.pca, "lie in (0, 1) or be None", self.pca is None or 0 < self.pca < 1)
        require("components", self.components, "be at least 1", self.components is None or self.components >= 1)

    def _estimate(self, samples: Samples) -> Score:
        components = self.components if self.components is not None else 5 * len(np.unique(samples.labels))
        if len(samples.rows) < components:
            return undefined(f"{len(samples.rows)} samples are fewer than the {components} components of the mixture")
        if not np.ptp(samples.rows, axis=0).any():
            return undefined("the features do not vary")
        try:
            posterior = _responsibilities(samples.rows, self.pca, components, self.random_state)
        except ValueError as error:
            return undefined(f"the mixture cannot be fitted: {str(error).split('(')[0].strip()}")
        return leep_from_samples(Samples(posterior, samples.labels, ""))


def _responsibilities(rows: Floats, pca: float | None, components: int, random_state: int) -> Floats:
    from sklearn.decomposition import PCA
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    offset = rows.mean(axis=0)
    reduced = (rows - np.where(np.abs(offset) > FAR * rows.std(axis=0), offset, 0)).astype(np.float32)
    if pca is not None:
        reduced = PCA(n_components=pca, svd_solver="full").fit_transform(reduced)
    mixture = GaussianMixture(n_components=components, covariance_type="full", random_state=random_state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopping after 100 steps is part of the method
        return np.asarray(mixture.fit(reduced).predict_proba(reduced), dtype=np.float64)
