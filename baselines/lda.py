"""LDA: the mean posterior of the true class under Fisher's linear discriminant with a shrunk within-class covariance.

    S_w = sum_c prior_c cov_c (1/n_c),   S = (1 - s) S_w + s tr(S_w)/d I
    p(c | x) = softmax_c(x' S^-1 mu_c - 1/2 mu_c' S^-1 mu_c + log prior_c),   LDA = mean_i p(y_i | x_i)

Higher is better; it lies in (0, 1]. By default s = max(exp(-5 lambda), 1e-10), lambda the largest eigenvalue of S_w:
this is the first stage of SFDA.

References: Fisher, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7 (1936); Shao et al.,
"Not All Models Are Equal: Predicting Model Transferability in a Self-challenging Fisher Space", ECCV 2022, arXiv
2207.03036 (the shrinkage).

Deviation: the LDA score released with ETran takes the eigenvectors of a matrix that is not symmetric as if it were,
which makes it the nearest class mean with priors; ours is the discriminant itself.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import softmax

from baselines.inputs.arrays import Array, Floats, Integers, Samples, read_samples, undefined
from baselines.inputs.points import PointMetric
from benchmark.metric.score import Score, value_or_warn

LEAST_SHRINKAGE = 1e-10


def lda_score(features: Array, labels: Array, *, shrinkage: float | None = None) -> float:
    """Mean posterior of the true class under a linear discriminant fitted to the same samples.

    Args:
        features: (n, d) real numbers.
        labels: (n,) integers, 0 .. k - 1.
        shrinkage: in (0, 1], or None for the adaptive one.

    Returns:
        A number in (0, 1]; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument breaks its rule.

    Example:
        >>> labels = np.repeat([0, 1], 50)
        >>> noise = np.random.default_rng(0).normal(size=(100, 2))
        >>> lda_score(noise + 9 * labels[:, None], labels) > lda_score(noise, labels)
        True
    """
    return value_or_warn(lda_from_samples(read_samples(features, labels), shrinkage=shrinkage))


def lda_from_samples(samples: Samples, *, shrinkage: float | None = None) -> Score:
    """LDA of checked samples.

    Args:
        samples: features and labels.
        shrinkage: in (0, 1], or None for the adaptive one.

    Returns:
        The score, with the part "shrinkage"; NaN where no class varies.

    Raises:
        ValueError: if the shrinkage is not in (0, 1].
    """
    if shrinkage is not None and not 0 < shrinkage <= 1:
        raise ValueError(f"`shrinkage` must lie in (0, 1] or be None, got {shrinkage}")
    if samples.undefined:
        return undefined(samples.undefined)
    _, places = np.unique(samples.labels, return_inverse=True)
    fitted = fit_discriminant(samples.rows, places, shrinkage)
    if fitted is None:
        return undefined("no class varies in any channel")
    posterior = fitted.posterior(samples.rows)
    return Score(float(posterior[np.arange(len(places)), places].mean()), parts={"shrinkage": fitted.shrinkage})


@dataclass(frozen=True)
class Discriminant:
    """A fitted linear discriminant.

    Attributes:
        centre: (d,) what is subtracted first, so that offsets cancel exactly.
        means: (k, d) class means.
        coefficients: (k, d) S^-1 (mu_c - centre).
        intercept: (k,) the rest of the discriminant.
        shrinkage: what was used.
    """

    centre: Floats
    means: Floats
    coefficients: Floats
    intercept: Floats
    shrinkage: float

    def posterior(self, rows: Floats) -> Floats:
        """(n, k) posterior of each class for rows (n, d)."""
        return np.asarray(softmax((rows - self.centre) @ self.coefficients.T + self.intercept, axis=1))


def fit_discriminant(rows: Floats, places: Integers, shrinkage: float | None) -> Discriminant | None:
    """Fisher's discriminant of samples.

    Args:
        rows: (n, d) finite features.
        places: (n,) classes 0 .. k - 1, each with a sample.
        shrinkage: in (0, 1], or None for the adaptive one.

    Returns:
        The discriminant, or None where no class varies.
    """
    count = np.bincount(places)
    centre = rows.mean(axis=0)
    means = np.stack([rows[places == place].mean(axis=0) for place in range(len(count))])
    residual = rows - means[places]
    within = residual.T @ residual / len(rows)
    level = float(np.trace(within)) / len(within)
    if not level > 0:
        return None
    if shrinkage is None:
        shrinkage = max(float(np.exp(-5 * np.linalg.eigvalsh(within)[-1])), LEAST_SHRINKAGE)
    shrunk = (1 - shrinkage) * within + shrinkage * level * np.eye(len(within))
    shifted = means - centre
    coefficients = cho_solve(cho_factor(shrunk), shifted.T).T
    intercept = np.log(count / len(rows)) - np.einsum("cd,cd->c", shifted, coefficients) / 2
    return Discriminant(centre, means, coefficients, intercept, shrinkage)


class LDA(PointMetric):
    """LDA as a metric of sampled points; arguments as `lda_score`.

    Args:
        shrinkage: in (0, 1], or None for the adaptive one.
        count: most points, as many of each class as there are.
        layer: -1 the input of the finest segmentation head.
        seed: of the sampling.
    """

    name = "lda"
    invariances: ClassVar[frozenset[str]] = frozenset({"rotation", "shift", "duplication"})

    def __init__(
        self,
        *,
        shrinkage: float | None = None,
        count: int = 2000,
        layer: int = -1,
        seed: int = 0,
    ) -> None:
        super().__init__(count=count, layer=layer, seed=seed)
        self.options: dict[str, Any] = {"shrinkage": shrinkage}

    def _score(self, samples: Samples) -> Score:
        return lda_from_samples(samples, **self.options)
