"""CRank: how consistent a source's foreground prediction is when the input is perturbed. Uses no labels.

u, p: foreground probability of a voxel, unperturbed and perturbed; conf_x = max(x, 1 - x); H2 in bits;
the mask is (u > 1/2) or (p > 1/2).

    difference            |sqrt u - sqrt p|
    effective_invariance  sqrt(conf_u conf_p) where both lie on the same side of 1/2, else 0
    entropy               H2((u + p) / 2)
    kl_divergence         u log2(u/p) + (1 - u) log2((1 - u)/(1 - p))
    cross_entropy         - u log2 p - (1 - u) log2(1 - p)
    hamming               share of one image's mask on which the two predictions differ

`crank_map` returns them per voxel, and `crank_mean` averages over the mask of the whole batch (hamming: over images).
`crank_score` is that mean with the sign for which higher is better: every measure but effective_invariance is negated.

Reference: Talks, Kreshuk, "Ranking pre-trained segmentation models for zero-shot transferability", 2025, arXiv
2503.00450 (title of the first version; the third is called "Unsupervised Source-Free Ranking of Biomedical Segmentation
Models Under Distribution Shift").

Each perturbation needs another forward pass, so this metric is not part of the one-pass benchmark. The paper perturbs
the input or, by dropout, the features; here only the input is perturbed, by the transform set in `passes.perturbed`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from scipy.special import rel_entr, xlogy

from baselines.inputs.arrays import Array, Booleans, Floats, to_numpy
from benchmark.metric.score import Score, undefined, value_or_warn
from benchmark.statistics import Request, SoftmaxRequest, Statistics

Measure: TypeAlias = Literal[
    "difference", "effective_invariance", "entropy", "kl_divergence", "cross_entropy", "hamming"
]
# Keeps the logarithms finite for probabilities of exactly 0 or 1; smaller than float32 softmax resolves near 1
LEAST_PROBABILITY = 1e-8


def crank_score(unperturbed: Array, perturbed: Array, *, measure: Measure = "effective_invariance") -> float:
    """Consistency of two predictions, higher is better.

    Args:
        unperturbed: (b, ...) foreground probability of b images or volumes.
        perturbed: (b, ...) the same under a perturbation of the input, mapped back.
        measure: which consistency.

    Returns:
        The score; NaN with an `UndefinedScoreWarning` where neither prediction has foreground.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> crank_score(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0]]))
        1.0
    """
    mean = crank_mean(unperturbed, perturbed, measure=measure)
    if np.isnan(mean):
        return value_or_warn(undefined("neither prediction has foreground"))
    return mean if measure == "effective_invariance" else -mean


def crank_mean(unperturbed: Array, perturbed: Array, *, measure: Measure) -> float:
    """Mean of a measure over the mask of the whole batch, with its own sign; hamming: mean over images.

    Arguments and errors as in `crank_score`; NaN where the mask is empty.

    Example:
        >>> round(crank_mean(np.array([[0.81, 0.0]]), np.array([[0.64, 0.0]]), measure="difference"), 12)
        0.1
    """
    if measure == "hamming":
        values = crank_hamming(unperturbed, perturbed)
        values = values[~np.isnan(values)]
    else:
        values = crank_map(unperturbed, perturbed, measure=measure)[crank_mask(unperturbed, perturbed)]
    return float(values.mean()) if values.size else float("nan")


def crank_map(unperturbed: Array, perturbed: Array, *, measure: Measure) -> Floats:
    """Compute a measure, any but "hamming", for every voxel, (b, ...); arguments and errors as in `crank_score`.

    Example:
        >>> crank_map(np.array([[0.5]]), np.array([[0.5]]), measure="entropy").tolist()
        [[1.0]]
    """
    if measure not in MAPS:
        raise ValueError(f"`measure` must be one of {', '.join(MAPS)}, got {measure!r}")
    u, p = _probabilities(unperturbed, perturbed)
    return np.asarray(MAPS[measure](u, p))


def crank_mask(unperturbed: Array, perturbed: Array) -> Booleans:
    """Mask (b, ...) of the voxels where either prediction is foreground."""
    u, p = _probabilities(unperturbed, perturbed)
    return np.asarray((u > 0.5) | (p > 0.5))


def crank_hamming(unperturbed: Array, perturbed: Array) -> Floats:
    """Share of each image's mask on which the two predictions differ, (b,); NaN where the mask is empty."""
    u, p = _probabilities(unperturbed, perturbed)
    axes = tuple(range(1, u.ndim))
    size = ((u > 0.5) | (p > 0.5)).sum(axis=axes)
    return np.asarray(np.where(size > 0, ((u > 0.5) != (p > 0.5)).sum(axis=axes) / np.maximum(size, 1), np.nan))


def _probabilities(unperturbed: Array, perturbed: Array) -> tuple[Floats, Floats]:
    u, p = (to_numpy(values).astype(np.float64) for values in (unperturbed, perturbed))
    if u.shape != p.shape or u.ndim < 2:
        raise ValueError(f"`perturbed` must have the shape (b, ...) of `unperturbed` {u.shape}, got {p.shape}")
    for name, values in (("unperturbed", u), ("perturbed", p)):
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"`{name}` must lie in [0, 1], got {values.min():.6g} .. {values.max():.6g}")
    return u, p


def _difference(u: Floats, p: Floats) -> Floats:
    return np.asarray(np.abs(np.sqrt(u) - np.sqrt(p)))


def _effective_invariance(u: Floats, p: Floats) -> Floats:
    confidence = np.sqrt(np.maximum(u, 1 - u) * np.maximum(p, 1 - p))
    return np.asarray(np.where((u > 0.5) == (p > 0.5), confidence, 0.0))


def _entropy(u: Floats, p: Floats) -> Floats:
    mean = (u + p) / 2
    return np.asarray(-(xlogy(mean, mean) + xlogy(1 - mean, 1 - mean)) / np.log(2))


def _cross_entropy(u: Floats, p: Floats) -> Floats:
    p = np.clip(p, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return np.asarray(-(xlogy(u, p) + xlogy(1 - u, 1 - p)) / np.log(2))


def _kl_divergence(u: Floats, p: Floats) -> Floats:
    p = np.clip(p, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return np.asarray((rel_entr(u, p) + rel_entr(1 - u, 1 - p)) / np.log(2))


MAPS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "difference": _difference,
    "effective_invariance": _effective_invariance,
    "entropy": _entropy,
    "kl_divergence": _kl_divergence,
    "cross_entropy": _cross_entropy,
}


@dataclass(kw_only=True, eq=False)
class CRank:
    """CRank, computed from two passes over the target: unchanged images, and images perturbed without moving voxels.

    Attributes:
        measure: which consistency.
    """

    name = "crank"
    needs: ClassVar[tuple[str, ...]] = ("perturbed",)

    measure: Measure = "effective_invariance"

    @property
    def requires(self) -> tuple[Request, ...]:
        """The softmax of class 0 at every voxel; the foreground probability is 1 minus that."""
        return (SoftmaxRequest(first=1),)

    def compute(self, statistics: Statistics, *, perturbed: Statistics | None = None) -> Score:
        """Compute `crank_score` over all voxels, with part "mask", the share of voxels in the mask.

        Args:
            statistics: statistics of the target.
            perturbed: statistics of the same cases with perturbed images, from the same network; NaN without it.

        Raises:
            ValueError: if the cases differ.
        """
        if perturbed is None:
            return undefined("needs a pass over perturbed images")
        first, second = (own[self.requires[0]] for own in (statistics, perturbed))
        if first.cases != second.cases:
            raise ValueError(f"`perturbed` must have the cases {first.cases}, got {second.cases}")
        totals, inside, voxels = [], [], 0
        for case in first.cases:
            total, masked = 0.0, 0
            for one, two in zip(first.rows(case), second.rows(case), strict=True):
                u, p = (np.clip(1 - to_numpy(block.softmax)[:, 0], 0, 1)[None] for block in (one, two))
                if not (np.isfinite(u).all() and np.isfinite(p).all()):
                    return undefined(f"the softmax of case {case} holds NaN or inf")
                count = int(crank_mask(u, p).sum())
                mean = crank_mean(u, p, measure=self.measure) if count else 0.0
                total, masked, voxels = total + count * mean, masked + count, voxels + u.size
            totals.append(total)
            inside.append(masked)
        counts = np.array(inside)
        if not counts.any():
            return undefined("neither prediction has foreground")
        means = np.array(totals)[counts > 0] / counts[counts > 0]
        # hamming is a mean over images, the others over the voxels of all
        mean = float(means.mean() if self.measure == "hamming" else np.average(means, weights=counts[counts > 0]))
        value = mean if self.measure == "effective_invariance" else -mean
        return Score(value, parts={"mask": float(counts.sum() / voxels)})
