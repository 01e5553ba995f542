"""PED: move the target's classes apart, as fine-tuning would, then score them by another estimate.

Features are standardised by the mean and standard deviation (at least 1e-3) of the features of the source's own data.
Each class is a ball around its mean with radius R = sqrt(total variance). In each step, every two classes a, b with
means at distance D push each other apart along the line between their means, by min(0.005 F, F) each, with
F = max(2 (R_a + R_b) - D, 0). Steps are repeated, up to 6, while the total move exceeds half of the first. Then the
scaling is undone, and the moved features are scored by SFDA or LogME.

Higher is better, as for SFDA and LogME.

Reference: Li, Hu, Ge, Shan, Duan, "Exploring Model Transferability through the Lens of Potential Energy", ICCV 2023,
arXiv 2308.15074.

Deviation: none from the authors' code; the constant 0.005 comes from their time step, 1/2 0.1^2. LogME is the released
fixed-point form. Source features are needed; using the target's own statistics instead gives a different estimate.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from baselines.inputs.arrays import Array, Floats, Integers, Samples, read_rows, read_samples
from baselines.inputs.gaussians import sample_moments
from baselines.inputs.points import SourcePassMetric
from baselines.logme import logme_from_moments
from baselines.sfda import sfda_from_samples
from benchmark.metric.score import Score, undefined, value_or_warn
from benchmark.metric.standalone import require_choice
from benchmark.statistics import PointSample

Base: TypeAlias = Literal["sfda", "logme"]

LEAST_DEVIATION = 1e-3
MOST_STEPS = 6
STEP = 0.005
SIGMAS = 2.0
EXIT_RATIO = 0.5


def ped_score(features: Array, labels: Array, source_features: Array, *, base: Base = "sfda") -> float:
    """SFDA or LogME of the features after their classes have repelled each other.

    Args:
        features: (n, d) real numbers, features of the target.
        labels: (n,) integers, 0 .. k - 1.
        source_features: (s, d) real numbers, features of the source's own data from the same network.
        base: estimate that scores the moved features.

    Returns:
        The score; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> labels = np.repeat([0, 1], 50)
        >>> noise = np.random.default_rng(0).normal(size=(100, 2))
        >>> ped_score(noise + 9 * labels[:, None], labels, noise) > ped_score(noise, labels, noise)
        True
    """
    samples, source = read_samples(features, labels), read_rows(source_features, name="source_features")
    if source.shape[1] != samples.rows.shape[1]:
        raise ValueError(f"`source_features` must have {samples.rows.shape[1]} channels, got {source.shape[1]}")
    return value_or_warn(ped_from_samples(samples, source, base=base))


def ped_from_samples(samples: Samples, source: Floats, *, base: Base = "sfda") -> Score:
    """PED from validated samples of the target and features (s, d) of the source's data; `base` as in `ped_score`."""
    require_choice("base", base, Base)
    if samples.undefined:
        return undefined(samples.undefined)
    if not len(source) or not np.isfinite(source).all():
        return undefined("the source features are empty or hold NaN or inf")
    scale = np.maximum(source.std(axis=0), LEAST_DEVIATION)
    centre = source.mean(axis=0)
    _, places = np.unique(samples.labels, return_inverse=True)
    moved = repelled((samples.rows - centre) / scale, places) * scale + centre
    if base == "sfda":
        return sfda_from_samples(Samples(moved, samples.labels, ""))
    return logme_from_moments(sample_moments(moved, places), form="fixed_point", tol=1e-3, max_iter=11, eps=1e-5)


def repelled(rows: Floats, places: Integers) -> Floats:
    """Move the classes (n,) 0 .. k - 1 of features (n, d) apart, each with all its samples."""
    k = int(places.max()) + 1
    means = np.stack([rows[places == place].mean(axis=0) for place in range(k)])
    radius = np.sqrt([rows[places == place].var(axis=0).sum() for place in range(k)])
    moved, first = means.copy(), 0.0
    for step in range(MOST_STEPS):
        push = _push(moved, radius)
        total = float(np.linalg.norm(push, axis=1).sum())
        first = total if step == 0 else first
        moved = moved + push
        if total <= EXIT_RATIO * first:
            break
    return np.asarray(rows + (moved - means)[places])


def _push(means: Floats, radius: Floats) -> Floats:
    """Displacement (k, d) of each class in one step; classes with equal means do not push each other."""
    apart = means[:, None] - means[None]
    distance = np.linalg.norm(apart, axis=2)
    force = np.maximum(SIGMAS * (radius[:, None] + radius[None]) - distance, 0)
    share = np.divide(np.minimum(STEP * force, force), distance, out=np.zeros_like(distance), where=distance > 0)
    return np.asarray((share[:, :, None] * apart).sum(axis=1))


@dataclass(kw_only=True, eq=False)
class PED(SourcePassMetric):
    """PED, from two passes through the source: over the target, and its own data; `base` as in `ped_score`."""

    name = "ped"

    base: Base = "sfda"

    def _score(self, target: PointSample, source: PointSample) -> Score:
        samples = read_samples(target.features, target.labels)
        return ped_from_samples(samples, read_rows(source.features), base=self.base)
