"""LogME against the direct form of its paper, and where its limits are known."""

import numpy as np
import pytest
from scipy.optimize import minimize

from baselines import LogME, logme_from_moments, logme_score
from baselines.logme import maximise_evidence
from benchmark import ClassMoments

# Both are float64; the direct form inverts matrices
TOLERANCE = 1e-8


def evidence(features, target, log_alpha, log_beta):
    """log N(y | 0, X X' / alpha + I / beta), the evidence by its definition."""
    n = len(target)
    log_alpha, log_beta = np.clip([log_alpha, log_beta], -40, 40)  # where the optimiser strays
    covariance = features @ features.T / np.exp(log_alpha) + np.eye(n) / np.exp(log_beta)
    fit = target @ np.linalg.solve(covariance, target)
    return -(n * np.log(2 * np.pi) + np.linalg.slogdet(covariance)[1] + fit) / 2


def direct(features, labels):
    """Mean over classes of the largest evidence a sample, found by a general optimiser."""
    best = []
    for label in np.unique(labels):
        target = (labels == label).astype(float)
        starts = [
            minimize(lambda p, y=target: -evidence(features, y, *p), [a, 1.0], method="Nelder-Mead", tol=1e-10)
            for a in (-3, 0, 3)
        ]
        best.append(-min(fit.fun for fit in starts) / len(labels))
    return np.mean(best)


@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_the_default_is_the_largest_evidence(samples, offset):
    features, labels = samples
    assert logme_score(features + offset, labels) == pytest.approx(direct(features + offset, labels), abs=1e-7)


def test_fewer_samples_than_dimensions():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], 10)
    features = generator.normal(size=(20, 50)) + np.eye(2, 50)[labels]
    assert logme_score(features, labels) == pytest.approx(direct(features, labels), abs=1e-5)


def test_an_offset_of_1000_costs_no_digits(samples):
    """LogME is not free of an offset, so both sides have it: here the reference forms X'X in extended precision."""
    features, labels = samples
    moved = features + 1000
    gram = moved.astype(np.longdouble).T @ moved.astype(np.longdouble)
    s, v = np.linalg.eigh(gram.astype(np.float64))
    evidences = []
    for label in np.unique(labels):
        target = (labels == label).astype(float)
        x = (v.T @ moved.T @ target) / np.sqrt(s)
        alpha = beta = 1.0
        for _ in range(1000):
            t = alpha / beta
            size = (s * x**2 / (s + t) ** 2).sum()
            rest = (t**2 * x**2 / (s + t) ** 2).sum() + target @ target - x @ x
            gamma = (s / (s + t)).sum()
            alpha, beta = gamma / size, (len(target) - gamma) / rest
        n, d = features.shape
        fit = d * np.log(alpha) + n * np.log(beta / (2 * np.pi)) - np.log(alpha + beta * s).sum()
        evidences.append((fit - beta * rest - alpha * size) / (2 * n))
    assert logme_score(moved, labels) == pytest.approx(np.mean(evidences), rel=1e-6)


def test_the_fixed_point_form_lacks_its_term_below_n_of_d():
    """With n < d it counts min(n, d) eigenvalues in the log-determinant: icml - fixed_point = -(d - n)/2 mean log
    alpha / n."""
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], 10)
    wide, narrow = generator.normal(size=(20, 50)), generator.normal(size=(20, 5))
    steps = {"tol": 1e-3, "max_iter": 11, "eps": 0}
    assert logme_score(narrow, labels, form="icml", **steps) == logme_score(narrow, labels, form="fixed_point", **steps)
    assert logme_score(wide, labels, form="icml", **steps) != logme_score(wide, labels, form="fixed_point", **steps)


def test_features_that_are_0_leave_the_noise():
    """No feature explains y, so the evidence is that of y ~ N(0, 1/beta), beta = n / |y|^2, largest at its own
    variance."""
    labels = np.repeat([0, 1], [30, 10])
    shares = np.array([0.75, 0.25])
    assert logme_score(np.zeros((40, 3)), labels) == pytest.approx(-np.mean(np.log(2 * np.pi * shares) + 1) / 2)


def test_a_label_explained_without_a_rest_is_bounded_by_eps():
    features = np.eye(2)[np.repeat([0, 1], 20)]
    values = [logme_score(features, np.repeat([0, 1], 20), eps=eps) for eps in (1e-4, 1e-8)]
    assert values[0] < values[1] < np.inf


def test_balanced_weights_change_nothing_where_classes_are_equal(samples):
    features, labels = samples
    equal = np.concatenate([np.flatnonzero(labels == label)[:10] for label in range(3)])
    moments = ClassMoments.from_samples(features[equal], labels[equal], 3)
    assert logme_from_moments(moments, balanced=True).value == pytest.approx(logme_from_moments(moments).value)
    assert logme_score(features, labels, balanced=True) != pytest.approx(logme_score(features, labels))


def test_foreground_leaves_class_0_out(samples):
    features, labels = samples
    kept = labels > 0
    assert logme_score(features, labels, foreground=True) == pytest.approx(
        logme_score(features[kept], labels[kept] - 1), rel=TOLERANCE
    )


def test_the_metric_has_the_steps_as_a_part(samples):
    metric = LogME()
    metric.update(*samples)
    score = metric.compute()
    assert score.value == logme_score(*samples)
    assert score.parts["steps"] >= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "fast"}, '`form` must be "icml" or "fixed_point", got \'fast\''),
        ({"max_iter": 0}, "`max_iter` must be"),
    ],
)
def test_a_wrong_option_is_named(samples, options, message):
    with pytest.raises(ValueError, match=message):
        logme_score(*samples, **options)


CONVERGED = LogME(tol=1e-10, max_iter=5000, eps=0)


def evidence_at(alpha, beta, s, x, rest):
    """The evidence per sample of any two precisions, by its formula."""
    m = beta * np.sqrt(s) * x / (alpha + beta * s)
    residual = rest + ((x - np.sqrt(s) * m) ** 2).sum()
    logs = len(s) * np.log(alpha) + 50 * np.log(beta / (2 * np.pi)) - np.log(alpha + beta * s).sum()
    return (logs - beta * residual - alpha * (m**2).sum()) / 100


def test_no_precisions_near_the_fixed_point_are_better():
    s, x, count = np.array([40.0, 9.0, 2.0]), np.array([3.0, 1.0, 1.5]), 20.0
    best = maximise_evidence(s, x, count, 50, CONVERGED).value
    grid = np.exp(np.linspace(-8, 8, 81))
    highest = max(evidence_at(alpha, beta, s, x, count - (x**2).sum()) for alpha in grid for beta in grid)
    assert highest <= best + 1e-12
    assert highest == pytest.approx(best, abs=0.01)


def test_a_label_that_no_feature_explains_ends():
    """The ridge grows without end; the evidence tends to that of noise alone."""
    score = maximise_evidence(np.array([4.0, 1.0]), np.zeros(2), 25.0, 50, CONVERGED)
    assert score.value == pytest.approx(-(np.log(2 * np.pi * 0.5) + 1) / 2)
    assert score.parts["steps"] < CONVERGED.max_iter


def test_the_steps_are_capped():
    options = LogME(tol=0, max_iter=11, eps=1e-5)
    assert maximise_evidence(np.array([4.0, 1.0]), np.array([2.0, 1.0]), 25.0, 50, options).parts["steps"] == 11
