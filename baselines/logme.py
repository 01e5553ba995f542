"""LogME: the log evidence of a Bayesian linear model from features to labels, averaged over one-vs-rest classes.

For one class, y in {0, 1}^n, prior w ~ N(0, 1/alpha), noise precision beta, X'X with eigenvalues s_j and x_j the part
of y along the j-th left singular vector, t = alpha / beta:

    gamma = sum s_j / (s_j + t),  |m|^2 = sum s_j x_j^2 / (s_j + t)^2,  r = sum t^2 x_j^2 / (s_j + t)^2 + (|y|^2 -
    |x|^2) alpha <- gamma / |m|^2,  beta <- (n - gamma) / r                                      until t settles
    evidence = d/2 log alpha + n/2 log beta - 1/2 sum_j log(alpha + beta s_j) - beta/2 r - alpha/2 |m|^2 - n/2 log 2 pi

The score is the mean over classes of evidence / n; higher is better.

References: You, Liu, Wang, Long, "LogME: Practical Assessment of Pre-trained Models for Transfer Learning", ICML 2021,
arXiv 2102.11005; You, Liu, Zhang, Wang, Jordan, Long, "Ranking and Tuning Pre-trained Models: A New
Paradigm for Exploiting Model Hubs", JMLR 23, 2022 (fixed point).

Deviations: by default the fixed point is iterated to convergence (relative change of t below 1e-6), over all d
eigenvalues and with a negligible `eps`; the authors take at most 11 steps, stop at 1e-2 or 1e-3 and add 1e-5 to |m|^2
and r. `form`, `tol`, `max_iter` and `eps` reproduce their releases: form="icml" uses all d eigenvalues and `eps` in the
evidence too; form="fixed_point" uses min(n, d) eigenvalues, so it lacks (d - n)/2 log alpha when n < d, and `eps` in
the updates only. X itself is not needed: its singular values and the x_j follow from class moments. Labels that the
features explain exactly have unbounded evidence when n > d; `eps` bounds it.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from baselines.inputs.arrays import Array, Floats
from baselines.inputs.gaussians import ClassGaussians, WeightedMomentMetric, sample_moments
from benchmark.metric.score import Score, value_or_warn
from benchmark.metric.standalone import require, require_choice
from benchmark.statistics import ClassMoments

Form: TypeAlias = Literal["icml", "fixed_point"]

# |y|^2 - |x|^2 is a difference of sums of n terms: below this share of |y|^2 it is rounding error
UNEXPLAINED_RESOLUTION = 1e-12
# A ridge this far below the smallest or above the largest eigenvalue no longer changes the evidence
RIDGE_LIMIT = 1e-12
# Keeps alpha and beta finite where eps = 0 and the divisor vanishes
LEAST = 1e-300


def logme_score(features: Array, labels: Array, **options: object) -> float:
    """Mean log evidence per sample of one-vs-rest Bayesian linear models.

    Args:
        features: (n, d) real numbers.
        labels: (n,) integers, 0 .. k - 1.
        options: parameters of `LogME`.

    Returns:
        The score; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> labels = np.repeat([0, 1], 50)
        >>> noise = np.random.default_rng(0).normal(size=(100, 2))
        >>> apart = noise + 5 * labels[:, None]
        >>> logme_score(apart, labels) > logme_score(noise, labels)
        True
    """
    return value_or_warn(logme_from_moments(sample_moments(features, labels), **options))


def logme_from_moments(moments: ClassMoments, **options: object) -> Score:
    """LogME from class moments, with parts "steps", the maximum over classes, and "rank"."""
    return LogME.of_samples(**options)._score(moments)


@dataclass(kw_only=True, eq=False)
class LogME(WeightedMomentMetric):
    """LogME, computed in one pass over the target.

    Attributes:
        form: "icml" or "fixed_point", the two released forms.
        tol: relative change of alpha / beta at which a class stops.
        max_iter: maximum number of steps per class.
        eps: added to |m|^2 and to the residual.
    """

    name = "logme"
    invariances = frozenset({"rotation", "scale"})

    form: Form = "icml"
    tol: float = 1e-6
    max_iter: int = 1000
    eps: float = 1e-20

    def __post_init__(self) -> None:
        require_choice("form", self.form, Form)
        require("max_iter", self.max_iter, "be at least 1", self.max_iter >= 1)

    def _estimate(self, kept: ClassGaussians) -> Score:
        eigenvalues, projections = _spectrum(kept)
        null = max(kept.mean.shape[1] - kept.n, 0.0) if self.form == "fixed_point" else 0.0
        fits = [
            maximise_evidence(eigenvalues, x, float(count), kept.n, self, null=null)
            for x, count in zip(projections, kept.count, strict=True)
        ]
        parts = {"steps": max(fit.parts["steps"] for fit in fits), "rank": float(len(eigenvalues))}
        return Score(float(np.mean([fit.value for fit in fits])), reason=kept.note, parts=parts)


def _spectrum(kept: ClassGaussians) -> tuple[Floats, Floats]:
    """Non-zero eigenvalues (r,) of X'X, and U'y (k, r) for the indicator y of each class.

    X has the same right singular vectors and values as [S^(1/2); sqrt(n) mu'], with S the centred scatter, which avoids
    the Gram matrix of features far from 0.
    """
    mean, root_n = kept.total_mean(), np.sqrt(kept.n)
    values, vectors = np.linalg.eigh(kept.within() + kept.between())
    values[values <= values.max() * len(values) * np.finfo(np.float64).eps] = 0
    factor = np.vstack([np.sqrt(values)[:, None] * vectors.T, root_n * mean])
    left, singular, right = np.linalg.svd(factor, full_matrices=False)
    full = singular > singular.max(initial=0.0) * max(factor.shape) * np.finfo(np.float64).eps
    singular, right = singular[full], right[full]
    # X'y = n_c mu_c, split about the mean so that a large offset cancels exactly
    projections = kept.count[:, None] * ((kept.mean - mean) @ right.T / singular + left[-1, full] / root_n)
    return singular**2, projections


def maximise_evidence(
    eigenvalues: Floats, projections: Floats, count: float, n: float, options: LogME, *, null: float = 0.0
) -> Score:
    """Log evidence per sample of one class at the fixed point of alpha and beta, with part "steps".

    Args:
        eigenvalues: (r,) s_j, the non-zero eigenvalues of X'X.
        projections: (r,) x_j, the part of y along the j-th left singular vector.
        count: |y|^2, the number of samples of the class.
        n: number of samples.
        options: stopping rule, and the released form.
        null: number of null eigenvalues that count in d/2 log alpha but not in the log-determinant.
    """
    squares = projections**2
    unexplained = count - float(squares.sum())
    if unexplained < UNEXPLAINED_RESOLUTION * count:
        unexplained = 0.0
    spare = max(n - len(eigenvalues), 0.0)
    alpha = beta = ridge = 1.0
    size = rest = 0.0
    steps = 0
    while len(eigenvalues) and steps < options.max_iter:
        steps += 1
        shrunk = eigenvalues + ridge
        size = float((squares * (eigenvalues / shrunk) / shrunk).sum())
        rest = float((squares * (ridge / shrunk) ** 2).sum()) + unexplained
        alpha = float((eigenvalues / shrunk).sum()) / max(size + options.eps, LEAST)
        beta = (spare + float((ridge / shrunk).sum())) / max(rest + options.eps, LEAST)
        moved, ridge = abs(alpha / beta - ridge) / ridge, alpha / beta
        if moved < options.tol or (spare == 0 and ridge < RIDGE_LIMIT * eigenvalues.min()):
            break
        if ridge * RIDGE_LIMIT > eigenvalues.max():  # nothing is explained: as if there were no features
            eigenvalues, unexplained = eigenvalues[:0], count
    if not len(eigenvalues):
        alpha, size, rest = 1.0, 0.0, unexplained
        beta = n / max(rest + options.eps, LEAST)
    eps = options.eps if options.form == "icml" else 0.0
    logdet = (len(eigenvalues) + null) * np.log(alpha) - np.log(alpha + beta * eigenvalues).sum()
    fit = n * np.log(beta / (2 * np.pi)) - beta * (rest + eps) - alpha * (size + eps)
    return Score(float(logdet + fit) / (2 * n), parts={"steps": float(steps)})
