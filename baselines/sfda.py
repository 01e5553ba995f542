"""SFDA: the posterior of the true class under a regularised, self-challenging Fisher discriminant.

    S_w = sum_c prior_c cov_c,   s = max(exp(-5 lambda), 1e-10), lambda the largest eigenvalue of S_w
    S_t, S_w <- (1 - s) S + s tr(S)/d I,   S_b = S_t - S_w,   S_b v = rho S_w v, all vectors V kept
    p(c | x) = softmax_c(x'VV'mu_c - 1/2 mu_c'VV'mu_c + log prior_c)

All generalised eigenvectors are kept and V'S_w V = I, so VV' = S_w^-1: this is `lda`'s discriminant. Then x <- q_y x +
(1 - q_y) (mean of the other classes' means), q = softmax of the posteriors at x; the discriminant is fitted again with
the first s, and the score is the mean posterior of the true class. Higher is better; it lies in (0, 1].

Reference: Shao, Zhao, Ge, Zhang, Yang, Wang, Shan, Luo, "Not All Models Are Equal: Predicting Model Transferability in
a Self-challenging Fisher Space", ECCV 2022, arXiv 2207.03036.

Deviation: none from the authors' code. The shrinkage s depends on the scale of the features: large features are hardly
shrunk.
"""

import numpy as np
from scipy.special import softmax

from baselines.inputs.arrays import Array, Samples, read_samples
from baselines.inputs.points import PointMetric
from baselines.lda import fit_discriminant
from benchmark.metric.score import Score, undefined, value_or_warn


def sfda_score(features: Array, labels: Array) -> float:
    """Mean posterior of the true class after self-challenging.

    Args:
        features: (n, d) real numbers.
        labels: (n,) integers, 0 .. k - 1.

    Returns:
        A number in (0, 1]; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if a shape or a type is wrong.

    Example:
        >>> labels = np.repeat([0, 1], 50)
        >>> noise = np.random.default_rng(0).normal(size=(100, 2))
        >>> sfda_score(noise + 9 * labels[:, None], labels) > sfda_score(noise, labels)
        True
    """
    return value_or_warn(sfda_from_samples(read_samples(features, labels)))


def sfda_from_samples(samples: Samples) -> Score:
    """SFDA from validated samples, with the parts "shrinkage" and "first", the posterior before the self-challenge."""
    return SFDA()._score(samples)


class SFDA(PointMetric):
    """SFDA, computed from sampled points."""

    name = "sfda"
    invariances = frozenset({"rotation", "shift", "duplication"})

    def _estimate(self, samples: Samples) -> Score:
        rows, own = samples.rows, np.arange(len(samples.rows))
        labels, places = np.unique(samples.labels, return_inverse=True)
        first = fit_discriminant(rows, places, None)
        if first is None:
            return undefined("no class varies in any channel")
        posterior = first.posterior(rows)
        confidence = softmax(posterior, axis=1)[own, places][:, None]
        others = (first.means.sum(axis=0) - first.means) / (len(labels) - 1)
        mixed = confidence * rows + (1 - confidence) * others[places]
        second = fit_discriminant(mixed, places, first.shrinkage)
        if second is None:
            return undefined("no class varies in any channel")
        parts = {"shrinkage": first.shrinkage, "first": float(posterior[own, places].mean())}
        return Score(float(second.posterior(mixed)[own, places].mean()), parts=parts)
