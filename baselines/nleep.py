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
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from baselines.inputs.arrays import Array, Floats, Samples, read_samples, undefined
from baselines.inputs.points import PointMetric
from baselines.leep import leep_from_samples
from benchmark.metric.score import Score, value_or_warn

# float32 has 7 digits: offsets of more standard deviations than this are removed first; smaller ones stay, as released
FAR = 1000


def nleep_score(
    features: Array, labels: Array, *, pca: float | None = 0.8, components: int | None = None, random_state: int = 123
) -> float:
    """LEEP computed on the posteriors of a Gaussian mixture.

    Args:
        features: (n, d) real numbers.
        labels: (n,) integers, 0 .. k - 1.
        pca: share of the variance to keep, in (0, 1), or None to skip the PCA.
        components: number of mixture components; 5 per class if None.
        random_state: seed of the k-means initialisation.

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
    samples = read_samples(features, labels)
    return value_or_warn(nleep_from_samples(samples, pca=pca, components=components, random_state=random_state))


def nleep_from_samples(
    samples: Samples, *, pca: float | None = 0.8, components: int | None = None, random_state: int = 123
) -> Score:
    """NLEEP from validated samples; the arguments are those of `nleep_score`.

    Args:
        samples: features and labels.
        pca: share of the variance to keep, or None.
        components: number of mixture components, or None.
        random_state: seed of the k-means initialisation.

    Returns:
        The score; NaN with a reason if the mixture cannot be fitted.

    Raises:
        ValueError: if an argument is invalid.
    """
    if pca is not None and not 0 < pca < 1:
        raise ValueError(f"`pca` must lie in (0, 1) or be None, got {pca}")
    if components is not None and components < 1:
        raise ValueError(f"`components` must be at least 1, got {components}")
    if samples.undefined:
        return undefined(samples.undefined)
    wanted = components if components is not None else 5 * len(np.unique(samples.labels))
    if len(samples.rows) < wanted:
        return undefined(f"{len(samples.rows)} samples are fewer than the {wanted} components of the mixture")
    if not np.ptp(samples.rows, axis=0).any():
        return undefined("the features do not vary")
    try:
        posterior = _responsibilities(samples.rows, pca, wanted, random_state)
    except ValueError as error:
        return undefined(f"the mixture cannot be fitted: {str(error).split('(')[0].strip()}")
    return leep_from_samples(Samples(posterior, samples.labels, ""))


def _responsibilities(rows: Floats, pca: float | None, components: int, random_state: int) -> Floats:
    from sklearn.decomposition import PCA
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    offset = rows.mean(axis=0)
    far = np.abs(offset) > FAR * rows.std(axis=0)
    reduced = (rows - np.where(far, offset, 0)).astype(np.float32)
    if pca is not None:
        reduced = PCA(n_components=pca, svd_solver="full").fit_transform(reduced)
    mixture = GaussianMixture(n_components=components, covariance_type="full", random_state=random_state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopping after 100 steps is part of the method
        return np.asarray(mixture.fit(reduced).predict_proba(reduced), dtype=np.float64)


class NLEEP(PointMetric):
    """NLEEP, computed from sampled points; arguments as in `nleep_score`.

    Args:
        pca: share of the variance to keep, or None.
        components: number of mixture components; 5 per class if None.
        random_state: seed of the k-means initialisation.
        count: maximum number of points, split evenly over the classes.
        layer: tapped layer; -1 is the input of the finest segmentation head.
        seed: seed of the sampling.
    """

    name = "nleep"
    invariances: ClassVar[frozenset[str]] = frozenset({})
    exempt: ClassVar[Mapping[str, str]] = {
        "sample_order": "EM starts from k-means, which draws its centres by position",
        "chunks": "merged chunks have another order",
    }

    def __init__(
        self,
        *,
        pca: float | None = 0.8,
        components: int | None = None,
        random_state: int = 123,
        count: int = 2000,
        layer: int = -1,
        seed: int = 0,
    ) -> None:
        super().__init__(count=count, layer=layer, seed=seed)
        self.options: dict[str, Any] = {"pca": pca, "components": components, "random_state": random_state}

    def _score(self, samples: Samples) -> Score:
        return nleep_from_samples(samples, **self.options)
