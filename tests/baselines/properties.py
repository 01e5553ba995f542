"""What every estimate that takes samples must keep to, as functions of a metric and a seed.

A metric is found by its yaml alone. It says what theory promises of it as data:

    invariances  a set of rotation, scale, channel_scale, shift, duplication
    exempt       those of the properties that all others share which do not hold
    reads        "features", "softmax" or "logits"; if absent, it follows from what the metric requires
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hydra.utils import instantiate
from omegaconf import OmegaConf

from benchmark.metric.score import Score
from benchmark.statistics import BalancedPointsRequest, ClassMomentsRequest, JointRequest

CONF = Path(__file__).parents[2] / "conf" / "metric"
# The sums are of some hundred numbers in float64, whose order a property changes; a score is compared on its own scale
TOLERANCE = 1e-6
# An offset of 1000 on features of size 1 costs three digits of their differences, and squares cost six
SHIFTED_TOLERANCE = 1e-5

Make = Callable[[], object]


@dataclass(frozen=True)
class Samples:
    """Rows of one kind with labels, k classes all present."""

    rows: np.ndarray
    labels: np.ndarray


def find(folder: Path = CONF) -> dict[str, Make]:
    """By name, what builds each metric of a folder of yamls that takes samples."""
    makers = {path.stem: _maker(path) for path in sorted(folder.glob("*.yaml"))}
    return {name: make for name, make in makers.items() if reads(make()) is not None}


def _maker(path: Path) -> Make:
    return lambda: instantiate(OmegaConf.load(path))


def reads(metric) -> str | None:
    """What `update` takes, or None for a metric that takes no plain samples."""
    if not hasattr(metric, "update"):
        return None
    if stated := getattr(metric, "reads", None):
        return stated
    kinds = {type(request) for request in metric.requires}
    if JointRequest in kinds:
        return "softmax"
    return "features" if kinds & {ClassMomentsRequest, BalancedPointsRequest} else None


def draw(kind: str, seed: int, *, separation: float = 1.5) -> Samples:
    """Samples of 2 to 4 unequal classes: Gaussian features in 3 to 6 dimensions, or predictions over k + 1 classes."""
    generator = np.random.default_rng(seed)
    k, d = int(generator.integers(2, 5)), int(generator.integers(3, 7))
    counts = generator.integers(12, 30, size=k)
    labels = generator.permutation(np.repeat(np.arange(k), counts))
    if kind == "features":
        centres = separation * np.linalg.qr(generator.normal(size=(max(k, d), max(k, d))))[0][:k, :d]
        return Samples(generator.normal(size=(len(labels), d)) + 2 * centres[labels], labels)
    logits = generator.normal(size=(len(labels), k + 1)) + 2 * separation * np.eye(k, k + 1)[labels]
    return Samples(logits if kind == "logits" else softmax(logits), labels)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def score(make: Make, rows: np.ndarray, labels: np.ndarray) -> Score:
    metric = make()
    metric.update(rows, labels, **_class_count(metric, labels))
    return metric.compute()


def _class_count(metric, labels) -> dict[str, int]:
    """Metrics whose statistics have a fixed number of classes take it by name."""
    from inspect import signature

    return {"k": int(labels.max()) + 1} if "k" in signature(metric.update).parameters else {}


def same(one: Score, two: Score, tolerance: float = TOLERANCE) -> None:
    assert not math.isnan(one.value), one.reason
    assert abs(one.value - two.value) <= tolerance * max(1.0, abs(one.value)), (one, two)


def sample_order(make: Make, seed: int) -> None:
    """Samples have no order."""
    given = draw(reads(make()), seed)
    order = np.random.default_rng(seed).permutation(len(given.labels))
    same(score(make, given.rows, given.labels), score(make, given.rows[order], given.labels[order]))


def foreground_order(make: Make, seed: int) -> None:
    """Foreground classes have no order."""
    given = draw(reads(make()), seed)
    k = given.labels.max() + 1
    renamed = np.concatenate([[0], 1 + np.random.default_rng(seed).permutation(k - 1)])
    same(score(make, given.rows, given.labels), score(make, given.rows, renamed[given.labels]))


def class_order(make: Make, seed: int) -> None:
    """The background is a class like every other."""
    given = draw(reads(make()), seed)
    renamed = np.roll(np.arange(given.labels.max() + 1), 1)
    same(score(make, given.rows, given.labels), score(make, given.rows, renamed[given.labels]))


def absent_class(make: Make, seed: int) -> None:
    """A class without samples changes nothing: label names may have gaps."""
    given = draw(reads(make()), seed)
    spread = np.where(given.labels > 0, given.labels + 2, 0)
    same(score(make, given.rows, given.labels), score(make, given.rows, spread))


def chunks(make: Make, seed: int) -> None:
    """Split anywhere and merged in any order, samples score as they do at once."""
    given = draw(reads(make()), seed)
    generator = np.random.default_rng(seed)
    owner = generator.integers(0, 4, size=len(given.labels))
    workers = []
    for part in generator.permutation(4):
        worker = make()
        for half in np.array_split(np.flatnonzero(owner == part), 2):
            if len(half):
                worker.update(given.rows[half], given.labels[half], **_class_count(worker, given.labels))
        workers.append(worker)
    merged = workers[0]
    for worker in workers[1:]:
        merged.merge(worker)
    same(score(make, given.rows, given.labels), merged.compute())


def reset(make: Make, seed: int) -> None:
    """A metric that was reset has seen nothing."""
    given = draw(reads(make()), seed)
    metric = make()
    assert math.isnan(metric.compute().value)
    metric.update(given.rows[::2], given.labels[::2])
    metric.reset()
    metric.update(given.rows, given.labels)
    assert metric.compute() == score(make, given.rows, given.labels)


def separation(make: Make, seed: int) -> None:
    """Labels that the rows tell apart perfectly beat the same labels shuffled."""
    given = draw(reads(make()), seed, separation=8)
    shuffled = np.random.default_rng(seed).permutation(given.labels)
    assert score(make, given.rows, given.labels).value > score(make, given.rows, shuffled).value


def duplication(make: Make, seed: int) -> None:
    """Every sample twice says no more than once."""
    given = draw(reads(make()), seed)
    twice = np.vstack([given.rows, given.rows]), np.concatenate([given.labels, given.labels])
    same(score(make, given.rows, given.labels), score(make, *twice))


def rotation(make: Make, seed: int) -> None:
    """The axes of feature space mean nothing."""
    given = draw("features", seed)
    d = given.rows.shape[1]
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]
    same(score(make, given.rows, given.labels), score(make, given.rows @ turn, given.labels))


def scale(make: Make, seed: int) -> None:
    """The unit of the features means nothing."""
    given = draw("features", seed)
    for unit in (1e-3, 1e4):
        same(score(make, given.rows, given.labels), score(make, unit * given.rows, given.labels))


def channel_scale(make: Make, seed: int) -> None:
    """Nor does the unit of each channel."""
    given = draw("features", seed)
    units = 10.0 ** np.random.default_rng(seed).uniform(-3, 3, size=given.rows.shape[1])
    same(score(make, given.rows, given.labels), score(make, given.rows * units, given.labels))


def shift(make: Make, seed: int) -> None:
    """The origin of feature space means nothing, not even 1000 away."""
    given = draw("features", seed)
    away = 1000 * np.random.default_rng(seed).normal(size=given.rows.shape[1])
    same(score(make, given.rows, given.labels), score(make, given.rows + away, given.labels), SHIFTED_TOLERANCE)


SHARED = (sample_order, foreground_order, class_order, absent_class, chunks, reset, separation)
BY_THEORY = (duplication, rotation, scale, channel_scale, shift)


def owed(metric) -> list[Callable[[Make, int], None]]:
    """The properties that a metric has to keep."""
    exempt, promised = getattr(metric, "exempt", frozenset()), getattr(metric, "invariances", frozenset())
    shared = [check for check in SHARED if check.__name__ not in exempt]
    return shared + [check for check in BY_THEORY if check.__name__ in promised]


# Inputs on which formulas break. Each is a right number or NaN with a reason.


def degenerate(kind: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By name, rows and labels."""
    generator = np.random.default_rng(7)
    labels = np.repeat([0, 1, 2], [30, 20, 10])
    rows = generator.normal(size=(60, 4)) + 2 * np.eye(3, 4)[labels]
    samples = {
        "no_samples": (rows[:0], labels[:0]),
        "one_sample": (rows[:1], labels[:1]),
        "one_class": (rows[:30], labels[:30]),
        "class_of_one": (rows[:51], labels[:51]),
        "class_of_two": (rows[:52], labels[:52]),
        "two_samples": (rows[[0, 40]], labels[[0, 40]]),
        "absent_class": (rows, labels * 2),
        "one_sample_a_class": (rows[[0, 30, 50]], labels[[0, 30, 50]]),
        "identical_sets": (np.vstack([rows[:20]] * 3), np.repeat([0, 1, 2], 20)),
        "every_sample_twice": (np.repeat(rows, 2, axis=0), np.repeat(labels, 2)),
    }
    if kind == "softmax":
        return {name: (softmax(3 * values), targets) for name, (values, targets) in samples.items()} | {
            "source_class_of_probability_zero": (np.hstack([softmax(rows), np.zeros((60, 2))]), labels),
            "one_source_class": (np.ones((60, 1)), labels),
            "hard_predictions": (np.eye(4)[labels], labels),
            "uniform_predictions": (np.full((60, 4), 0.25), labels),
            "half_precision": (softmax(8 * rows).astype(np.float16), labels),
        }
    copies = np.hstack([rows, rows[:, :2], np.full((60, 1), 3.0)])
    return samples | {
        "fewer_samples_than_dimensions": (generator.normal(size=(60, 90)) + np.eye(3, 90)[labels], labels),
        "constant_and_duplicated_columns": (copies, labels),
        "all_constant": (np.full((60, 4), 3.0), labels),
        "all_zero": (np.zeros((60, 4)), labels),
        "one_channel": (rows[:, :1], labels),
        "no_variance_within_classes": (np.eye(3, 4)[labels], labels),
        "scaled_by_1e-3": (1e-3 * rows, labels),
        "scaled_by_1e4": (1e4 * rows, labels),
        "offset_by_1000": (1000 + rows, labels),
        "offset_by_1000_and_scaled": (1000 + 1e-3 * rows, labels),
        "relu": (np.maximum(rows, 0), labels),
        "integers": (np.round(3 * rows).astype(np.int64), labels),
        "single_precision": (rows.astype(np.float32), labels),
    }


def not_finite(kind: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Rows with NaN or inf in one column, everywhere or once."""
    given = draw(kind, 3)
    changed = {}
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        once, channel = given.rows.copy(), given.rows.copy()
        once[5, 1], channel[:, 1] = value, value
        changed |= {f"{name}_once": (once, given.labels), f"{name}_channel": (channel, given.labels)}
    return changed


def answers(make: Make, rows: np.ndarray, labels: np.ndarray) -> Score:
    """The score of an input on which formulas break; fails on an exception, a warning, a complex number or an inf."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metric = make()
        if len(labels):
            metric.update(rows, labels)
        result = metric.compute()
    assert isinstance(result.value, float)
    assert not math.isinf(result.value), result
    assert not math.isnan(result.value) or result.reason
    return result
