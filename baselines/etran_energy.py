"""ETran energy: how familiar the target looks to the source, as the log-sum-exp of its logits.

    E(x) = log sum_z exp(logit_z(x));   score = mean E over a tail of the samples sorted by E

The tail is the int(10 percent) n // 1000 samples of lowest ("bot") or highest ("top") energy. Higher is better: the
target looks in-distribution to the source. The labels are not used.

Reference: Gholami, Akbari, Wang, Kamranian, Zhang, "ETran: Energy-Based Transferability Estimation", ICCV 2023,
arXiv 2308.02027.

Deviation: `percent` is in per cent, as in the authors' code, whose default of 0.5 keeps one sample in 200; ours is 50.
This is the energy term only; the published ETran adds a classification term, normalised over the pool.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from scipy.special import logsumexp

from baselines.inputs.arrays import Array, Floats, Samples, read_rows, read_samples, undefined
from baselines.inputs.points import PointMetric
from benchmark.metric.score import Score, value_or_warn
from benchmark.statistics import PointSample

Tail: TypeAlias = Literal["bot", "top"]


def etran_energy_score(logits: Array, *, percent: float = 50, tail: Tail = "bot") -> float:
    """Mean energy over one tail of the samples.

    Args:
        logits: (n, z) logits of the source, before softmax.
        percent: size of the tail, in per cent of the samples.
        tail: lowest ("bot") or highest ("top") energies.

    Returns:
        The score, in the unit of the logits; NaN with an `UndefinedScoreWarning` where the tail is empty.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> round(etran_energy_score(np.log(np.array([[1.0, 1.0], [3.0, 5.0]]))) - float(np.log(2)), 12)
        0.0
    """
    return value_or_warn(etran_energy_from_logits(read_rows(logits, name="logits"), percent=percent, tail=tail))


def etran_energy_from_logits(logits: Floats, *, percent: float = 50, tail: Tail = "bot") -> Score:
    """ETran energy from validated logits; the arguments are those of `etran_energy_score`.

    Args:
        logits: (n, z) float64.
        percent: size of the tail.
        tail: "bot" or "top".

    Returns:
        The score, with the number of samples in the tail as part "samples".

    Raises:
        ValueError: if an argument is invalid.
    """
    if tail not in ("bot", "top"):
        raise ValueError(f'`tail` must be "bot" or "top", got {tail!r}')
    if not 0 < percent <= 100:
        raise ValueError(f"`percent` must lie in (0, 100], got {percent}")
    if not np.isfinite(logits).all():
        return undefined(f"{int((~np.isfinite(logits)).any(axis=0).sum())} of {logits.shape[1]} logits hold NaN or inf")
    count = int(10 * percent) * len(logits) // 1000
    if count == 0:
        return undefined(f"{percent} per cent of {len(logits)} samples is less than one sample")
    energy = np.sort(logsumexp(logits, axis=1))
    chosen = energy[:count] if tail == "bot" else energy[-count:]
    return Score(float(chosen.mean()), parts={"samples": float(count)})


class EtranEnergy(PointMetric):
    """ETran energy, computed from sampled points; arguments as in `etran_energy_score`. Uses logits, no labels.

    Args:
        percent: size of the tail, in per cent of the samples.
        tail: lowest ("bot") or highest ("top") energies.
        count: maximum number of points, split evenly over the classes.
        layer: tapped layer; the sample is shared with the metrics that read the features of that layer.
        seed: seed of the sampling.
    """

    name = "etran_energy"
    reads: ClassVar[str] = "logits"
    row_name: ClassVar[str] = "logits"
    invariances: ClassVar[frozenset[str]] = frozenset()
    exempt: ClassVar[Mapping[str, str]] = {"separation": "it does not use the labels"}

    def __init__(
        self, *, percent: float = 50, tail: Tail = "bot", count: int = 2000, layer: int = -1, seed: int = 0
    ) -> None:
        super().__init__(count=count, layer=layer, seed=seed)
        self.options: dict[str, Any] = {"percent": percent, "tail": tail}

    def _read(self, points: PointSample) -> Samples:
        return read_samples(points.logits, points.labels, name=self.row_name)

    def _score(self, samples: Samples) -> Score:
        return etran_energy_from_logits(samples.rows, **self.options)
