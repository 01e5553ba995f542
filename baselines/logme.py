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

from typing import ClassVar, Literal, TypeAlias

import numpy as np

from baselines.inputs.arrays import Array, Floats, undefined
from baselines.inputs.gaussians import ClassGaussians, WeightedMomentMetric, read_moments, sample_moments
from baselines.inputs.logme_evidence import EvidenceSettings, maximise_evidence
from benchmark.metric.score import Score, value_or_warn
from benchmark.statistics import ClassMoments

Form: TypeAlias = Literal["icml", "fixed_point"]


def logme_score(
    features: Array,
    labels: Array,
    *,
    form: Form = "icml",
    tol: float = 1e-6,
    max_iter: int = 1000,
    eps: float = 1e-20,
    foreground: bool = False,
    balanced: bool = False,
) -> float:
    """Mean log evidence per sample of one-vs-rest Bayesian linear models.

    Args:
        features: (n, d) real numbers.
        labels: (n,) integers, 0 .. k - 1.
        form: "icml" or "fixed_point", the two released forms.
        tol: relative change of alpha / beta at which a class stops.
        max_iter: maximum number of steps per class.
        eps: added to |m|^2 and to the residual.
        foreground: leave out class 0.
        balanced: give every class the same weight.

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
    score = logme_from_moments(
        sample_moments(features, labels),
        form=form,
        tol=tol,
        max_iter=max_iter,
        eps=eps,
        foreground=foreground,
        balanced=balanced,
    )
    return value_or_warn(score)


def logme_from_moments(
    moments: ClassMoments,
    *,
    form: Form = "icml",
    tol: float = 1e-6,
    max_iter: int = 1000,
    eps: float = 1e-20,
    foreground: bool = False,
    balanced: bool = False,
) -> Score:
    """LogME from class moments; the arguments are those of `logme_score`.

    Args:
        moments: class moments of k classes.
        form: "icml" or "fixed_point".
        tol: relative change of alpha / beta at which a class stops.
        max_iter: maximum number of steps per class.
        eps: added to |m|^2 and to the residual.
        foreground: leave out class 0.
        balanced: give every class the same weight.

    Returns:
        The score, with parts "steps", the maximum over classes, and "rank".

    Raises:
        ValueError: if an argument is invalid.
    """
    if form not in ("icml", "fixed_point"):
        raise ValueError(f'`form` must be "icml" or "fixed_point", got {form!r}')
    if max_iter < 1:
        raise ValueError(f"`max_iter` must be at least 1, got {max_iter}")
    kept = read_moments(moments, foreground=foreground, balanced=balanced)
    if kept.undefined:
        return undefined(kept.undefined)
    eigenvalues, projections = _spectrum(kept)
    d = kept.mean.shape[1]
    rank = len(eigenvalues)
    absent = max(d - kept.n, 0.0) if form == "fixed_point" else 0.0
    settings = EvidenceSettings(
        n=kept.n, tol=tol, max_iter=max_iter, eps=eps, eps_in_evidence=eps if form == "icml" else 0.0, extra=absent
    )
    fits = [
        maximise_evidence(eigenvalues, x, float(count), settings)
        for x, count in zip(projections, kept.count, strict=True)
    ]
    return Score(
        float(np.mean([fit.value for fit in fits])),
        reason=kept.note,
        parts={"steps": float(max(fit.steps for fit in fits)), "rank": float(rank)},
    )


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


class LogME(WeightedMomentMetric):
    """LogME, computed in one pass over the target; arguments as in `logme_score`.

    Args:
        form: "icml" or "fixed_point".
        tol: relative change of alpha / beta at which a class stops.
        max_iter: maximum number of steps per class.
        eps: added to |m|^2 and to the residual.
        foreground: leave out class 0.
        balanced: give every class the same weight.
        layer: tapped layer; -1 is the input of the finest segmentation head.
    """

    name = "logme"
    invariances: ClassVar[frozenset[str]] = frozenset({"rotation", "scale"})

    def __init__(
        self,
        *,
        form: Form = "icml",
        tol: float = 1e-6,
        max_iter: int = 1000,
        eps: float = 1e-20,
        foreground: bool = False,
        balanced: bool = False,
        layer: int = -1,
    ) -> None:
        super().__init__(foreground=foreground, balanced=balanced, layer=layer)
        self.options |= {"form": form, "tol": tol, "max_iter": max_iter, "eps": eps}

    def _score(self, moments: ClassMoments) -> Score:
        return logme_from_moments(moments, **self.options)
