"""PED: the target's classes are let repel each other first, as fine-tuning would, and scored by another estimate then.

Features are standardised by the mean and standard deviation (at least 1e-3) of the SOURCE's features. Each class is a
ball at its mean with radius R = sqrt(total variance). In a step, every two classes a, b push each other apart, along
the line of their means at distance D, by min(0.005 F, F) each, F = max(2 (R_a + R_b) - D, 0). Steps follow while the
total move is over half that of the first, at most 6. The scaling is undone, and the moved features are scored by SFDA
or LogME.

Higher is better, as the base has it.

Reference: Li, Hu, Ge, Shan, Duan, "Exploring Model Transferability through the Lens of Potential Energy", ICCV 2023,
arXiv 2308.15074.

Deviation: none from the authors' code; the constant 0.005 is their time step, 1/2 0.1^2. LogME is the released
fixed-point form. Source features are needed; without them the target's own statistics can stand in, which is another
estimate.
"""

from typing import Literal, TypeAlias

import numpy as np

from baselines.inputs.arrays import Array, Floats, Integers, Samples, read_rows, read_samples, undefined
from baselines.inputs.gaussians import sample_moments
from baselines.inputs.source_pass import SourcePassMetric
from baselines.logme import logme_from_moments
from baselines.sfda import sfda_from_samples
from benchmark.metric.score import Score, value_or_warn
from benchmark.statistics import PointSample

Base: TypeAlias = Literal["sfda", "logme"]

LEAST_DEVIATION = 1e-3
MOST_STEPS = 6
STEP = 0.005
SIGMAS = 2.0
EXIT_RATIO = 0.5


def ped_score(features: Array, labels: Array, source_features: Array, *, base: Base = "sfda") -> float:
    """SFDA or LogME of the features after their classes repelled each other.

    Args:
        features: (n, d) real numbers, of the target.
        labels: (n,) integers, 0 .. k - 1.
        source_features: (s, d) real numbers, of the source's own data through the same network.
        base: what scores the moved features.

    Returns:
        The base's score; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument breaks its rule.

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
    """PED of checked samples; the arguments are those of `ped_score`.

    Args:
        samples: features and labels of the target.
        source: (s, d) features of the source's data.
        base: what scores the moved features.

    Returns:
        The base's score.

    Raises:
        ValueError: if `base` is neither.
    """
    if base not in ("sfda", "logme"):
        raise ValueError(f'`base` must be "sfda" or "logme", got {base!r}')
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
    """(n, d) features after their classes pushed each other apart.

    Args:
        rows: (n, d) features.
        places: (n,) classes 0 .. k - 1, each with a sample.

    Returns:
        The rows, each moved as its class is.
    """
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
    """(k, d) how far each class is moved in one step; classes with one mean have no direction and stay."""
    apart = means[:, None] - means[None]
    distance = np.linalg.norm(apart, axis=2)
    force = np.maximum(SIGMAS * (radius[:, None] + radius[None]) - distance, 0)
    share = np.divide(np.minimum(STEP * force, force), distance, out=np.zeros_like(distance), where=distance > 0)
    return np.asarray((share[:, :, None] * apart).sum(axis=1))


class PED(SourcePassMetric):
    """PED as a metric of two passes through one source: over the target, and over the source's own data.

    Args:
        base: what scores the moved features.
        count: most points of each, as many of each class as there are.
        layer: -1 the input of the finest segmentation head.
        seed: of the sampling.
    """

    name = "ped"

    def __init__(self, *, base: Base = "sfda", count: int = 2000, layer: int = -1, seed: int = 0) -> None:
        super().__init__(count=count, layer=layer, seed=seed)
        self.base: Base = base

    def _score(self, target: PointSample, source: PointSample) -> Score:
        samples = read_samples(target.features, target.labels)
        return ped_from_samples(samples, read_rows(source.features), base=self.base)
