"""LDA: the mean posterior of the true class under Fisher's linear discriminant with a shrunk within-class covariance.

    S_w = sum_c prior_c cov_c (1/n_c),   S = (1 - s) S_w + s tr(S_w)/d I
    p(c | x) = softmax_c(x' S^-1 mu_c - 1/2 mu_c' S^-1 mu_c + log prior_c),   LDA = mean_i p(y_i | x_i)

Higher is better; it lies in (0, 1]. By default s = max(exp(-5 lambda), 1e-10), lambda the largest eigenvalue of S_w,
which is the first stage of SFDA.

References: Fisher, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7 (1936); Shao et al.,
"Not All Models Are Equal: Predicting Model Transferability in a Self-challenging Fisher Space", ECCV 2022, arXiv
2207.03036 (the shrinkage).

Deviation: the LDA score released with ETran uses a symmetric eigensolver on a matrix that is not symmetric, which turns
it into a nearest class mean with priors; ours is the discriminant itself.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import softmax

from baselines.inputs.arrays import Array, Floats, Integers, Samples, read_samples
from baselines.inputs.points import PointMetric
from benchmark.metric.score import Score, undefined, value_or_warn
from benchmark.metric.standalone import require

LEAST_SHRINKAGE = 1e-10


def lda_score(features: Array, labels: Array, *, shrinkage: float | None = None) -> float:
    """Mean posterior of the true class under a linear discriminant fitted to the same samples.

    Args:
        features: (n, d) real numbers.
        labels: (n,) integers, 0 .. k - 1.
        shrinkage: shrinkage in (0, 1], or None to adapt it to the features.

    Returns:
        A number in (0, 1]; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> labels = np.repeat([0, 1], 50)
        >>> noise = np.random.default_rng(0).normal(size=(100, 2))
        >>> lda_score(noise + 9 * labels[:, None], labels) > lda_score(noise, labels)
        True
    """
    return value_or_warn(LDA(shrinkage=shrinkage)._score(read_samples(features, labels)))


@dataclass(kw_only=True, eq=False)
class LDA(PointMetric):
    """LDA, computed from sampled points; `shrinkage` as in `lda_score`."""

    name = "lda"
    invariances = frozenset({"rotation", "shift", "duplication"})

    shrinkage: float | None = None

    def __post_init__(self) -> None:
        require(
            "shrinkage", self.shrinkage, "lie in (0, 1] or be None", self.shrinkage is None or 0 < self.shrinkage <= 1
        )

    def _estimate(self, samples: Samples) -> Score:
        _, places = np.unique(samples.labels, return_inverse=True)
        fitted = fit_discriminant(samples.rows, places, self.shrinkage)
        if fitted is None:
            return undefined("no class varies in any channel")
        posterior = fitted.posterior(samples.rows)
        return Score(float(posterior[np.arange(len(places)), places].mean()), parts={"shrinkage": fitted.shrinkage})


@dataclass(frozen=True)
class Discriminant:
    """A fitted linear discriminant.

    Attributes:
        centre: (d,) subtracted from the features first, so that offsets cancel exactly.
        means: (k, d) class means.
        coefficients: (k, d) S^-1 (mu_c - centre).
        intercept: (k,) constant term of each class.
        shrinkage: the shrinkage used.
    """

    centre: Floats
    means: Floats
    coefficients: Floats
    intercept: Floats
    shrinkage: float

    def posterior(self, rows: Floats) -> Floats:
        """Posterior (n, k) of each class for rows (n, d)."""
        return np.asarray(softmax((rows - self.centre) @ self.coefficients.T + self.intercept, axis=1))


def fit_discriminant(rows: Floats, places: Integers, shrinkage: float | None) -> Discriminant | None:
    """Fit Fisher's discriminant to finite features (n, d) of classes (n,) 0 .. k - 1; None if no class varies."""
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
