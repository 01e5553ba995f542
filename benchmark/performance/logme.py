"""Rows on LogME over many samples: from class moments, compared with a direct decomposition of all features.

For one class, y in {0, 1}^n, X = U diag(s) V', x = U'y and t = alpha / beta:

    gamma = sum s^2 / (s^2 + t),  |m|^2 = sum s^2 x^2 / (s^2 + t)^2,  r = sum t^2 x^2 / (s^2 + t)^2 + |y|^2 - |x|^2
    alpha <- gamma / |m|^2,  beta <- (n - gamma) / r                                             until t settles
    evidence = d/2 log alpha + n/2 log beta - 1/2 sum log(alpha + beta s^2) - beta/2 r - alpha/2 |m|^2 - n/2 log 2 pi

Reference: You, Liu, Wang, Long, "LogME: Practical Assessment of Pre-trained Models for Transfer Learning", ICML 2021,
arXiv 2102.11005.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.metric.standalone import MomentMetric
from benchmark.performance.measurement import Check, Measurement, TimedRow

Floats = NDArray[np.float64]

# relative to the score: both fixed points stop where the evidence is flat, in float64
TOLERANCE = 1e-6
SETTLED = 1e-9  # relative change of t
MOST_STEPS = 1000


@dataclass(frozen=True)
class LogMELarge(TimedRow):
    """LogME of n samples with a common offset.

    Attributes:
        metric: LogME, converged and with all eigenvalues.
        n: samples.
        d: feature dims.
        classes: k.
        offset: added to every feature.
    """

    rule = "at least"
    metric: MomentMetric
    n: int
    d: int
    classes: int
    offset: float

    def measure(self, device: str) -> Measurement:
        """Time both and compare the scores."""
        generator = torch.Generator().manual_seed(0)
        labels = torch.randint(self.classes, (self.n,), generator=generator)
        means = torch.randn(self.classes, self.d, generator=generator)
        features = torch.randn(self.n, self.d, generator=generator).add_(means[labels]).add_(self.offset)
        placed, targets = features.to(device), labels.to(device)
        timed = self._time(
            lambda: self._from_moments(placed, targets),
            lambda: logme_directly(features.numpy(), labels.numpy(), self.classes),
            device,
        )
        checks = {"relative": Check(abs(timed.result - timed.expected) / abs(timed.expected), TOLERANCE)}
        return self._measurement(timed, device, checks=checks, details={"score": timed.result})

    def _from_moments(self, features: Tensor, labels: Tensor) -> float:
        self.metric.reset()
        self.metric.update(features, labels)
        return self.metric.compute().value


def logme_directly(features: NDArray[np.float32], labels: NDArray[np.int64], k: int) -> float:
    """LogME, the mean over k classes of evidence / n, from a singular value decomposition of all features (n, d)."""
    left, singular, _ = np.linalg.svd(features.astype(np.float64), full_matrices=False)
    squares = singular**2
    n, d = features.shape
    values = []
    for label in range(k):
        y = (labels == label).astype(np.float64)
        values.append(_evidence(squares, left.T @ y, float(y @ y), n, d) / n)
    return float(np.mean(values))


def _evidence(squares: Floats, x: Floats, y_square: float, n: int, d: int) -> float:
    """Log evidence of one class at its fixed point."""
    alpha = beta = 1.0
    for _ in range(MOST_STEPS):
        t = alpha / beta
        gamma = (squares / (squares + t)).sum()
        m_square = (squares * x**2 / (squares + t) ** 2).sum()
        rest = (t**2 * x**2 / (squares + t) ** 2).sum() + y_square - x @ x
        alpha, beta = gamma / m_square, (n - gamma) / rest
        if abs(alpha / beta - t) <= SETTLED * t:
            break
    logs = d * math.log(alpha) + n * math.log(beta) - np.log(alpha + beta * squares).sum() - n * math.log(2 * math.pi)
    return float(logs - beta * rest - alpha * m_square) / 2
