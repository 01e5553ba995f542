"""NCTI: how close the features are to neural collapse, from three terms that are normalised over the pool.

    X <- PCA to 64 dimensions (or all, if fewer),   t = max(exp(-sum of the first 32 explained variances), 1e-10)
    LDA with svd if t = 1e-10, else with eigen and shrinkage t
    seli = nuclear norm of the centred LDA projection,   ncc = mean posterior of the true class
    vc = log of the sum over classes of the nuclear norm of the posterior rows of that class
    NCTI = minmax(ncc) + minmax(seli) - minmax(vc),  minmax over the sources of one target

Higher is better. Without a pool the score is ncc + seli - vc, which is comparable only between sources of equal width.

Reference: Wang, Luo, Zheng, Huang, Baktashmotlagh, "How Far Pre-trained Models Are from Neural Collapse on the Target
Dataset Informs their Transferability", ICCV 2023. Deviation: the authors' code fails below 64 dimensions or samples;
ours keeps all of them.
"""

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from baselines.inputs.arrays import Array, Floats, Samples, read_samples, undefined
from baselines.inputs.points import PointMetric
from baselines.inputs.pool import minmax, pooled
from benchmark.metric.score import Score, value_or_warn

LEAST_SHRINKAGE = 1e-10


def ncti_score(features: Array, labels: Array, *, pca: int = 64) -> float:
    """Compute ncc + seli - vc of one source, without normalisation over a pool.

    Args:
        features: (n, d) real numbers.
        labels: (n,) integers, 0 .. k - 1.
        pca: maximum number of principal components to keep.

    Returns:
        The score; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> labels = np.repeat([0, 1], 50)
        >>> noise = np.random.default_rng(0).normal(size=(100, 2))
        >>> ncti_score(noise + 9 * labels[:, None], labels) > ncti_score(noise, labels)
        True
    """
    return value_or_warn(ncti_from_samples(read_samples(features, labels), pca=pca))


def ncti_from_samples(samples: Samples, *, pca: int = 64) -> Score:
    """NCTI's terms from validated samples.

    Args:
        samples: features and labels.
        pca: maximum number of principal components to keep.

    Returns:
        ncc + seli - vc, with the parts "seli", "ncc" and "vc" that `combine_ncti` needs.

    Raises:
        ValueError: if `pca` is less than 1.
    """
    if pca < 1:
        raise ValueError(f"`pca` must be at least 1 component, got {pca}")
    if samples.undefined:
        return undefined(samples.undefined)
    if len(samples.rows) <= len(np.unique(samples.labels)):
        return undefined(f"{len(samples.rows)} samples are too few: there must be more samples than classes")
    if not np.ptp(samples.rows, axis=0).any():
        return undefined("the features do not vary")
    _, places = np.unique(samples.labels, return_inverse=True)
    if not any(np.ptp(samples.rows[places == place], axis=0).any() for place in range(places.max() + 1)):
        return undefined("no class varies in any channel")
    rows, variances = _principal(samples.rows, pca)
    projected, posterior = _discriminant(rows, samples, max(float(np.exp(-variances[:32].sum())), LEAST_SHRINKAGE))
    if not (np.isfinite(projected).all() and np.isfinite(posterior).all()):
        return undefined("the discriminant analysis is singular")
    seli = float(np.linalg.norm(projected - projected.mean(axis=0), ord="nuc"))
    ncc = float(posterior[np.arange(len(places)), places].mean())
    nuclear = [np.linalg.norm(posterior[places == place], ord="nuc") for place in range(places.max() + 1)]
    vc = float(np.log(np.sum(nuclear)))
    return Score(ncc + seli - vc, parts={"seli": seli, "ncc": ncc, "vc": vc})


def combine_ncti(scores: Mapping[str, Score]) -> dict[str, Score]:
    """NCTI of all sources of one target, with each term normalised over the sources.

    Args:
        scores: by source, from `ncti_from_samples`.

    Returns:
        minmax(ncc) + minmax(seli) - minmax(vc) of each source; sources without terms keep their NaN.

    Example:
        >>> one = Score(0, parts={"seli": 1, "ncc": 0.5, "vc": 2})
        >>> two = Score(0, parts={"seli": 3, "ncc": 0.9, "vc": 2})
        >>> {name: score.value for name, score in combine_ncti({"one": one, "two": two}).items()}
        {'one': 0.0, 'two': 2.0}
    """
    return pooled(scores, lambda of: minmax(of("ncc")) + minmax(of("seli")) - minmax(of("vc")))


def _principal(rows: Floats, components: int) -> tuple[Floats, Floats]:
    from sklearn.decomposition import PCA

    reduced = PCA(n_components=min(components, *rows.shape), svd_solver="full")
    return np.asarray(reduced.fit_transform(rows)), np.asarray(reduced.explained_variance_)


def _discriminant(rows: Floats, samples: Samples, shrinkage: float) -> tuple[Floats, Floats]:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    if shrinkage == LEAST_SHRINKAGE:
        analysis = LinearDiscriminantAnalysis(solver="svd")
    else:
        analysis = LinearDiscriminantAnalysis(solver="eigen", shrinkage=shrinkage)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Only one sample", UserWarning)  # expected: no covariance
        projected = analysis.fit(rows, samples.labels).transform(rows)
    return np.asarray(projected), np.asarray(analysis.predict_proba(rows))


class NCTI(PointMetric):
    """NCTI, computed from sampled points; arguments as in `ncti_score`.

    Args:
        pca: maximum number of principal components to keep.
        count: maximum number of points, split evenly over the classes.
        layer: tapped layer; -1 is the input of the finest segmentation head.
        seed: seed of the sampling.
    """

    name = "ncti"
    invariances: ClassVar[frozenset[str]] = frozenset({"rotation", "shift"})

    def __init__(
        self,
        *,
        pca: int = 64,
        count: int = 2000,
        layer: int = -1,
        seed: int = 0,
    ) -> None:
        super().__init__(count=count, layer=layer, seed=seed)
        self.options: dict[str, Any] = {"pca": pca}

    def _score(self, samples: Samples) -> Score:
        return ncti_from_samples(samples, **self.options)

    def combine(self, scores: Mapping[str, Score]) -> dict[str, Score]:
        """NCTI of all sources of one target.

        Args:
            scores: by source, as returned by `compute`.

        Returns:
            By source, the sum of the terms normalised over the sources.
        """
        return combine_ncti(scores)
