"""ETran energy: how familiar the target looks to the source, as the log-sum-exp of its logits.

    E(x) = log sum_z exp(logit_z(x));   score = mean E over a tail of the samples sorted by E

The tail is the int(10 percent) n // 1000 samples of lowest ("bot") or highest ("top") energy. Higher is better: the
target looks in-distribution to the source. The labels are not used.

Reference: Gholami, Akbari, Wang, Kamranian, Zhang, "ETran: Energy-Based Transferability Estimation", ICCV 2023,
arXiv 2308.02027.

Deviation: `percent` is in per cent, as in the authors' code, whose default of 0.5 keeps one sample in 200; ours is 50.
This is the energy term only; the published ETran adds a classification term, normalised over the pool.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy.special import logsumexp

from baselines.inputs.arrays import Array, Samples, finite_columns, not_finite, read_samples
from baselines.inputs.points import PointMetric
from benchmark.metric.score import Score, undefined, value_or_warn
from benchmark.metric.standalone import require, require_choice

Tail: TypeAlias = Literal["bot", "top"]


def etran_energy_score(logits: Array, **options: object) -> float:
    """Mean energy over one tail of the samples.

    Args:
        logits: (n, z) logits of the source, before softmax.
        options: parameters of `EtranEnergy`.

    Returns:
        The score, in the unit of the logits; NaN with an `UndefinedScoreWarning` where the tail is empty.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> round(etran_energy_score(np.log(np.array([[1.0, 1.0], [3.0, 5.0]]))) - float(np.log(2)), 12)
        0.0
    """
    samples = read_samples(logits, np.zeros(len(logits), np.int64), name="logits")
    return value_or_warn(EtranEnergy.of_samples(**options)._estimate(samples))


@dataclass(kw_only=True, eq=False)
class EtranEnergy(PointMetric):
    """ETran energy of sampled points, which metrics of the same `layer` share. Uses logits, no labels.

    Attributes:
        percent: size of the tail, in per cent of the samples.
        tail: lowest ("bot") or highest ("top") energies.
    """

    name = "etran_energy"
    reads = "logits"
    compares = False
    # It does not use the labels
    exempt = frozenset({"separation"})

    percent: float = 50
    tail: Tail = "bot"

    def __post_init__(self) -> None:
        require_choice("tail", self.tail, Tail)
        require("percent", self.percent, "lie in (0, 100]", 0 < self.percent <= 100)

    def _estimate(self, samples: Samples) -> Score:
        logits = samples.rows
        if reason := not_finite(finite_columns(logits), "logits"):
            return undefined(reason)
        count = int(10 * self.percent) * len(logits) // 1000
        if count == 0:
            return undefined(f"{self.percent} per cent of {len(logits)} samples is less than one sample")
        energy = np.sort(logsumexp(logits, axis=1))
        chosen = energy[:count] if self.tail == "bot" else energy[-count:]
        return Score(float(chosen.mean()), parts={"samples": float(count)})
