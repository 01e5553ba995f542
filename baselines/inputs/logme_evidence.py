"""Evidence of a Bayesian linear model at the fixed point of its two precisions, the inner loop of LogME.

Notation and formulas are those of `baselines.logme`. The model is given by the non-zero eigenvalues s_j of X'X and by
x_j, the part of y along the j-th left singular vector.
"""

from dataclasses import dataclass

import numpy as np

from baselines.inputs.arrays import Floats

# |y|^2 - |x|^2 is a difference of sums of n terms: below this share of |y|^2 it is rounding error
UNEXPLAINED_RESOLUTION = 1e-12
# A ridge this far below the smallest or above the largest eigenvalue no longer changes the evidence
RIDGE_LIMIT = 1e-12
# Keeps alpha and beta finite where eps = 0 and the divisor vanishes
LEAST = 1e-300


@dataclass(frozen=True)
class EvidenceSettings:
    """Stopping rule, and the terms that differ between the released forms.

    Attributes:
        n: number of samples.
        tol: relative change of alpha / beta at which the iteration stops.
        max_iter: maximum number of steps.
        eps: added to |m|^2 and to the residual in the updates.
        eps_in_evidence: added to both in the evidence.
        extra: number of null eigenvalues that count in d/2 log alpha but not in the log-determinant.
    """

    n: float
    tol: float
    max_iter: int
    eps: float
    eps_in_evidence: float
    extra: float


@dataclass(frozen=True)
class LogEvidence:
    """Log evidence per sample, and the number of steps taken."""

    value: float
    steps: int


def maximise_evidence(
    eigenvalues: Floats, projections: Floats, count: float, settings: EvidenceSettings
) -> LogEvidence:
    """Iterate alpha and beta of one class to their fixed point.

    Args:
        eigenvalues: (r,) s_j, positive.
        projections: (r,) x_j.
        count: |y|^2, the number of samples of the class.
        settings: settings of the released form.

    Returns:
        The evidence at the last step.
    """
    squares = projections**2
    unexplained = count - float(squares.sum())
    if unexplained < UNEXPLAINED_RESOLUTION * count:
        unexplained = 0.0
    spare = max(settings.n - len(eigenvalues), 0.0)
    alpha = beta = ridge = 1.0
    size = rest = 0.0
    steps = 0
    while len(eigenvalues) and steps < settings.max_iter:
        steps += 1
        shrunk = eigenvalues + ridge
        size = float((squares * (eigenvalues / shrunk) / shrunk).sum())
        rest = float((squares * (ridge / shrunk) ** 2).sum()) + unexplained
        alpha = float((eigenvalues / shrunk).sum()) / max(size + settings.eps, LEAST)
        beta = (spare + float((ridge / shrunk).sum())) / max(rest + settings.eps, LEAST)
        moved, ridge = abs(alpha / beta - ridge) / ridge, alpha / beta
        if moved < settings.tol or (spare == 0 and ridge < RIDGE_LIMIT * eigenvalues.min()):
            break
        if ridge * RIDGE_LIMIT > eigenvalues.max():  # nothing is explained: as if there were no features
            eigenvalues, unexplained = eigenvalues[:0], count
    if not len(eigenvalues):
        alpha, size, rest = 1.0, 0.0, unexplained
        beta = settings.n / max(rest + settings.eps, LEAST)
    eps = settings.eps_in_evidence
    logdet = (len(eigenvalues) + settings.extra) * np.log(alpha) - np.log(alpha + beta * eigenvalues).sum()
    fit = settings.n * np.log(beta / (2 * np.pi)) - beta * (rest + eps) - alpha * (size + eps)
    return LogEvidence(float(logdet + fit) / (2 * settings.n), steps)
