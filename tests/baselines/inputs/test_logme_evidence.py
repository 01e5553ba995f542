"""The evidence of a Bayesian linear model at its fixed point."""

import numpy as np
import pytest

from baselines.inputs.logme_evidence import EvidenceSettings, maximise_evidence

CONVERGED = EvidenceSettings(n=50, tol=1e-10, max_iter=5000, eps=0, eps_in_evidence=0, extra=0)


def value(alpha, beta, s, x, rest):
    """The evidence a sample of any two precisions, by its formula."""
    m = beta * np.sqrt(s) * x / (alpha + beta * s)
    residual = rest + ((x - np.sqrt(s) * m) ** 2).sum()
    logs = len(s) * np.log(alpha) + 50 * np.log(beta / (2 * np.pi)) - np.log(alpha + beta * s).sum()
    return (logs - beta * residual - alpha * (m**2).sum()) / 100


def test_no_precisions_near_the_fixed_point_are_better():
    s, x, count = np.array([40.0, 9.0, 2.0]), np.array([3.0, 1.0, 1.5]), 20.0
    best = maximise_evidence(s, x, count, CONVERGED).value
    grid = np.exp(np.linspace(-8, 8, 81))
    found = max(value(alpha, beta, s, x, count - (x**2).sum()) for alpha in grid for beta in grid)
    assert found <= best + 1e-12
    assert found == pytest.approx(best, abs=0.01)


def test_a_label_that_no_feature_explains_ends():
    """The ridge grows without end; the evidence tends to that of noise alone."""
    found = maximise_evidence(np.array([4.0, 1.0]), np.zeros(2), 25.0, CONVERGED)
    assert found.value == pytest.approx(-(np.log(2 * np.pi * 0.5) + 1) / 2)
    assert found.steps < CONVERGED.max_iter


def test_the_steps_are_capped():
    settings = EvidenceSettings(n=50, tol=0, max_iter=11, eps=1e-5, eps_in_evidence=1e-5, extra=0)
    assert maximise_evidence(np.array([4.0, 1.0]), np.array([2.0, 1.0]), 25.0, settings).steps == 11
