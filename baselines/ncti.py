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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from baselines.inputs.arrays import Array, Floats, Samples, read_samples
from baselines.inputs.points import PointMetric
from benchmark.metric.score import Score, undefined, value_or_warn
from benchmark.metric.standalone import require

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
    """Compute ncc + seli - vc from validated samples; `combine_ncti` needs the parts "seli", "ncc" and "vc"."""
    return NCTI(pca=pca)._score(samples)


def combine_ncti(scores: Mapping[str, Score]) -> dict[str, Score]:
    """NCTI of all sources of one target, with each term normalised over the sources.

    Args:
        scores: by source, from `ncti_from_samples`.

    Returns:
        minmax(ncc) + minmax(seli) - minmax(vc) of each source; sources without terms keep their NaN.

    Example:
        >>> pool = {"a": Score(0, parts={"seli": 1, "ncc": 0.5, "vc": 2})}
        >>> pool["b"] = Score(0, parts={"seli": 3, "ncc": 0.9, "vc": 2})
        >>> {name: score.value for name, score in combine_ncti(pool).items()}
        {'a': 0.0, 'b': 2.0}
    """
    return pooled(scores, lambda of: minmax(of("ncc")) + minmax(of("seli")) - minmax(of("vc")))


@dataclass(kw_only=True, eq=False)
class NCTI(PointMetric):
    """NCTI, computed from sampled points; `pca` as in `ncti_score`."""

    name = "ncti"
    invariances = frozenset({"rotation", "shift"})

    pca: int = 64

    def __post_init__(self) -> None:
        require("pca", self.pca, "be at least 1 component", self.pca >= 1)

    def combine(self, scores: Mapping[str, Score]) -> dict[str, Score]:
        """NCTI of all sources of one target, from their scores."""
        return combine_ncti(scores)

    def _estimate(self, samples: Samples) -> Score:
        labels, places = np.unique(samples.labels, return_inverse=True)
        own, classes = np.arange(len(places)), [places == place for place in range(len(labels))]
        if len(places) <= len(labels):
            return undefined(f"{len(places)} samples are too few: there must be more samples than classes")
        if not np.ptp(samples.rows, axis=0).any():
            return undefined("the features do not vary")
        if not any(np.ptp(samples.rows[members], axis=0).any() for members in classes):
            return undefined("no class varies in any channel")
        rows, variances = _principal(samples.rows, self.pca)
        projected, posterior = _discriminant(rows, samples, max(float(np.exp(-variances[:32].sum())), LEAST_SHRINKAGE))
        if not (np.isfinite(projected).all() and np.isfinite(posterior).all()):
            return undefined("the discriminant analysis is singular")
        seli = float(np.linalg.norm(projected - projected.mean(axis=0), ord="nuc"))
        ncc = float(posterior[own, places].mean())
        vc = float(np.log(np.sum([np.linalg.norm(posterior[members], ord="nuc") for members in classes])))
        return Score(ncc + seli - vc, parts={"seli": seli, "ncc": ncc, "vc": vc})


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


def minmax(values: Floats) -> Floats:
    """Scale values (n,) to [0, 1]; all 0 if they are all equal.

    Example:
        >>> minmax(np.array([1.0, 3.0, 2.0])).tolist()
        [0.0, 1.0, 0.5]
    """
    low, span = values.min(), np.ptp(values)
    return np.asarray((values - low) / span if span > 0 else np.zeros_like(values))


def pooled(scores: Mapping[str, Score], rule: Callable[[Callable[[str], Floats]], Floats]) -> dict[str, Score]:
    """Compute final scores from the terms of all sources in a pool.

    Args:
        scores: by source of one target, with the terms as parts.
        rule: maps the function term name -> (n,) values of all sources that have a score to their final scores.

    Returns:
        The final scores; a source without a score keeps its NaN and reason.
    """
    names = [name for name, score in scores.items() if not np.isnan(score.value)]
    if not names:
        return dict(scores)
    values = rule(lambda element: np.array([scores[name].parts[element] for name in names], dtype=np.float64))
    final = {name: replace(scores[name], value=float(value)) for name, value in zip(names, values, strict=True)}
    return {name: final.get(name, score) for name, score in scores.items()}
