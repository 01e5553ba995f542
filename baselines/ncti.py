"""NCTI: how near the features are to neural collapse, from three elements that are normalised over the pool.

    X <- PCA to 64 dimensions (all there are, if fewer),   t = max(exp(-sum of the first 32 explained variances), 1e-10)
    LDA with svd if t = 1e-10, else with eigen and shrinkage t
    seli = nuclear norm of the centred LDA projection,   ncc = mean posterior of the true class
    vc = log of the sum over classes of the nuclear norm of the posterior rows of that class
    NCTI = minmax(ncc) + minmax(seli) - minmax(vc),  minmax over the sources of one target

Higher is better. Without a pool the score is ncc + seli - vc, which compares sources of one width at most.

Reference: Wang, Luo, Zheng, Huang, Baktashmotlagh, "How Far Pre-trained Models Are from Neural Collapse on the Target
Dataset Informs their Transferability", ICCV 2023. Deviation: the authors' code fails below 64 dimensions or samples;
ours keeps what there is.
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
    """Ncc + seli - vc of one source, not normalised.

    Args:
        features: (n, d) real numbers.
        labels: (n,) integers, 0 .. k - 1.
        pca: principal components to keep at most.

    Returns:
        The score; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument breaks its rule.

    Example:
        >>> labels = np.repeat([0, 1], 50)
        >>> noise = np.random.default_rng(0).normal(size=(100, 2))
        >>> ncti_score(noise + 9 * labels[:, None], labels) > ncti_score(noise, labels)
        True
    """
    return value_or_warn(ncti_from_samples(read_samples(features, labels), pca=pca))


def ncti_from_samples(samples: Samples, *, pca: int = 64) -> Score:
    """NCTI's elements of checked samples.

    Args:
        samples: features and labels.
        pca: principal components to keep at most.

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
        return undefined(f"{len(samples.rows)} samples are not more than the classes")
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
    """NCTI of all sources of one target, each element normalised over them.

    Args:
        scores: of each source, from `ncti_from_samples`.

    Returns:
        minmax(ncc) + minmax(seli) - minmax(vc) of each source; sources without elements keep their NaN.

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
        warnings.filterwarnings("ignore", "Only one sample", UserWarning)  # its class has no covariance, as it should
        projected = analysis.fit(rows, samples.labels).transform(rows)
    return np.asarray(projected), np.asarray(analysis.predict_proba(rows))


class NCTI(PointMetric):
    """NCTI as a metric of sampled points; arguments as `ncti_score`.

    Args:
        pca: principal components to keep at most.
        count: most points, as many of each class as there are.
        layer: -1 the input of the finest segmentation head.
        seed: of the sampling.
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
            scores: of each source, as `compute` returned them.

        Returns:
            Elements normalised over the sources, and added up.
        """
        return combine_ncti(scores)
