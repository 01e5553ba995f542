"""Class consistency and feature variety of one layer, and the base class of both metrics."""

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from benchmark.ccfv.distances import (
    CONSTANT,
    SHRINKAGE,
    Distance,
    feature_size,
    pairwise_distances,
    require_shrinkage,
)
from benchmark.core.energy import riesz_energy
from benchmark.core.wasserstein import Factor, factor_samples
from benchmark.errors import InputError, is_whole
from benchmark.metric.score import Score
from benchmark.metric.standalone import StandaloneMetric, require_choice
from benchmark.statistics import CasePointsRequest, LayerSamples, Statistics
from benchmark.statistics.case_points import Allocation
from benchmark.statistics.protocol import Array

Missing: TypeAlias = Literal["undefined", "skip"]
Space: TypeAlias = Literal["unit", "raw"]
Reduction: TypeAlias = Literal["mean", "sum"]
Terms: TypeAlias = Literal["both", "consistency", "variety"]

# Points per class in each layer, coarse to fine, on average over the classes of a case if counts are proportional
BUDGETS = (100, 200, 400)


@dataclass(kw_only=True, eq=False)
class CcfvOptions:
    """Choices that the paper leaves open.

    Attributes:
        space: compute the energy on features scaled to unit length ("unit"; a zero vector stays 0) or not ("raw").
        energy: "mean" over pairs, or "sum" over ordered pairs.
        s: exponent of the energy.
        floor: smallest distance of the energy.
        missing: "undefined": a class without a counted pair makes the score NaN; "skip": it is left out.
        terms: "both", as in the paper; only "consistency", the mean of -log C_l; or only "variety", that of log V_l.
        distance: between the Gaussians of two cases: "w2", as in the paper's formula, or in its place "kl" (the mean of
            both directions) or "bhattacharyya", as in the paper's ablation.
        shrinkage: a of the covariances (1 - a) S + a (tr S / d) I that the last two invert; W2 has none.
    """

    space: Space = "unit"
    energy: Reduction = "mean"
    s: int = 1
    floor: float = 1e-3
    missing: Missing = "undefined"
    terms: Terms = "both"
    distance: Distance = "w2"
    shrinkage: float = SHRINKAGE

    def __post_init__(self) -> None:
        require_choice("space", self.space, Space)
        require_choice("energy", self.energy, Reduction)
        require_choice("missing", self.missing, Missing)
        require_choice("terms", self.terms, Terms)
        require_choice("distance", self.distance, Distance)
        require_shrinkage(self.shrinkage)
        if self.distance == "w2" and self.shrinkage != SHRINKAGE:
            raise InputError(f"shrinkage has no effect on distance=w2, got shrinkage={self.shrinkage}; leave it out")


@dataclass(frozen=True)
class Consistency:
    """Class consistency of one layer.

    Attributes:
        value: C_l; NaN where undefined.
        pairs: number of unordered pairs of cases counted, by class.
        reason: why the value is NaN, or what was left out.
    """

    value: float
    pairs: Mapping[int, int]
    reason: str = ""


@dataclass(frozen=True)
class LayerGaussians:
    """Gaussians of the foreground classes of one layer, and the distances between cases, which are computed once.

    Attributes:
        gaussians: label -> Gaussian of each case; None for fewer than 2 points.
        distance: the distance, as in `CcfvOptions`.
        shrinkage: that of the divergences.
    """

    gaussians: Mapping[int, list[Factor | None]]
    distance: Distance = "w2"
    shrinkage: float = SHRINKAGE

    @classmethod
    def of(cls, layer: LayerSamples, distance: Distance = "w2", shrinkage: float = SHRINKAGE) -> "LayerGaussians":
        """The Gaussians of a layer."""
        return cls({label: _gaussians(layer, label) for label in layer.foreground}, distance, shrinkage)

    @cached_property
    def distances(self) -> dict[int, Tensor]:
        """The return value of `layer_distances`."""
        return {
            label: pairwise_distances(cases, self.distance, shrinkage=self.shrinkage)
            for label, cases in self.gaussians.items()
        }

    def undefined_pairs(self, label: int) -> Tensor:
        """Pairs of cases (m, m) bool that both have a Gaussian of the class, but whose distance is not a number."""
        known = torch.tensor([gaussian is not None for gaussian in self.gaussians[label]], dtype=torch.bool)
        undefined: Tensor = known & known[:, None] & self.distances[label].isnan()
        return undefined.fill_diagonal_(False)

    def consistency(self, missing: Missing = "undefined") -> Consistency:
        """Class consistency; see `class_consistency`."""
        require_choice("missing", missing, Missing)
        means: dict[int, float] = {}
        pairs: dict[int, int] = {}
        size, cases = 0.0, 0
        for label, gaussians in self.gaussians.items():
            known = {place: gaussian for place, gaussian in enumerate(gaussians) if gaussian is not None}
            if not all(gaussian.finite for gaussian in known.values()):
                return Consistency(math.nan, pairs, f"features of class {label} hold NaN or inf")
            cases = len(gaussians)
            pairs[label] = len(known) * (len(known) - 1) // 2
            size = max([size, *map(feature_size, known.values())])
            if self.distance != "w2" and self.undefined_pairs(label).any():
                return Consistency(
                    math.nan, pairs, f"features of class {label} do not vary in a case: {self.distance} is undefined"
                )
            if pairs[label]:
                first, second = torch.tensor(list(combinations(known, 2))).T
                means[label] = float(self.distances[label][first, second].mean())
        absent = [label for label in pairs if label not in means]
        if not means or (absent and missing == "undefined"):
            return Consistency(math.nan, pairs, f"class {absent or 'none'}: no two cases with at least 2 points each")
        if sum(means.values()) <= (CONSTANT * size if self.distance == "w2" else 0.0):
            return Consistency(
                math.nan, pairs, "the features of each class are the same in all cases: consistency is 0"
            )
        return Consistency(sum(means.values()), pairs, _left_out(absent, pairs, cases))


def layer_distances(
    layer: LayerSamples, *, distance: Distance = "w2", shrinkage: float = SHRINKAGE
) -> dict[int, Tensor]:
    """Compute the distance between all pairs of cases, (m, m) float64, for each foreground label of one layer.

    It is 0 on the diagonal, and NaN for a case with fewer than 2 points of the class, or if they contain NaN or inf; so
    are KL and Bhattacharyya if they do not vary. `distance` and `shrinkage` as in `CcfvOptions`.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> case = {1: torch.tensor([[0.0], [2.0]])}
        >>> layer_distances(LayerSamples([case, case, {}], [torch.zeros(2, 1)] * 3))[1].tolist()
        [[0.0, 0.0, nan], [0.0, 0.0, nan], [nan, nan, nan]]
    """
    return LayerGaussians.of(layer, distance, shrinkage).distances


def class_consistency(
    layer: LayerSamples, *, missing: Missing = "undefined", distance: Distance = "w2", shrinkage: float = SHRINKAGE
) -> Consistency:
    """Class consistency C_l: the sum over foreground classes of the mean distance over pairs of cases.

    A pair counts if both cases have at least 2 points of the class; each class is averaged over its own counted pairs.
    Arguments as in `CcfvOptions`.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> near, far = {1: torch.tensor([[0.0], [2.0]])}, {1: torch.tensor([[3.0], [5.0]])}
        >>> class_consistency(LayerSamples([near, far], [torch.zeros(2, 1)] * 2)).value
        3.0
    """
    return LayerGaussians.of(layer, distance, shrinkage).consistency(missing)


def feature_variety(scenes: Iterable[Array], **options: Any) -> float:
    """Feature variety V_l: the mean over cases of the inverse hyperspherical energy of their voxels.

    Args:
        scenes: for each case, (n, d) features at voxels of the whole image.
        options: `space`, `energy`, `s` and `floor` as in `CcfvOptions`.

    Returns:
        The mean over the cases with at least 2 voxels; NaN if there is none, or if a feature is NaN or inf.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> feature_variety([torch.tensor([[1.0, 0.0], [-7.0, 0.0]])])
        2.0
    """
    known = [inverse for inverse in inverse_energies(scenes, CcfvOptions(**options)) if inverse is not None]
    return sum(known) / len(known) if known else math.nan


def inverse_energies(scenes: Iterable[Array], options: CcfvOptions) -> list[float | None]:
    """Inverse hyperspherical energy of each case's voxels: NaN if a feature is NaN or inf, None for fewer than 2."""
    inverses: list[float | None] = []
    for scene in scenes:
        rows = torch.as_tensor(scene).double()
        if rows.shape[0] < 2:
            inverses.append(None)
            continue
        norms = rows.norm(dim=1, keepdim=True)
        points = rows / torch.where(norms > 0, norms, 1.0) if options.space == "unit" else rows
        inverses.append(1 / riesz_energy(points, s=options.s, floor=options.floor, reduction=options.energy))
    return inverses


def pair_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean over pairs of different cases in resamples of the cases.

    A resample is given by how often each case was drawn, c; all ones are the original cases. It contains a pair of
    different cases (i, j) c_i c_j times. A case drawn twice also forms a pair with its own copy, whose distance is 0;
    no new case would give that, so such pairs are left out, and the mean is over the pairs kept:

        sum_{i<j} c_i c_j v_ij / sum_{i<j} c_i c_j

    Args:
        values: (m, m) float64, symmetric; NaN for a pair that does not count.
        weights: (b, m) float64, how often each resample draws each case.

    Returns:
        (b,) float64; NaN if no pair counts.

    Example:
        >>> pairs = torch.tensor([[0.0, 1.0, 4.0], [1.0, 0.0, 2.0], [4.0, 2.0, 0.0]]).double()
        >>> pair_mean(pairs, torch.tensor([[1, 1, 1], [2, 1, 1], [2, 0, 0]]).double()).tolist()
        [2.3333333333333335, 2.4, nan]
    """
    known = (~values.isnan()).double()
    known.fill_diagonal_(0.0)
    filled = torch.where(known > 0, values, 0.0)
    return ((weights @ filled) * weights).sum(dim=1) / ((weights @ known) * weights).sum(dim=1)


@dataclass(kw_only=True, eq=False)
class LayerMetric(StandaloneMetric[Iterable[LayerSamples]]):
    """Base of both metrics: samples of layers, from a pass or given to `update`.

    Attributes:
        counts: points per class and case, for each tapped layer, coarse to fine. "proportional": 100, 200 and 400 on
            average over the foreground classes of a case, each with points in proportion to its voxels (see
            `CasePointsRequest`).
        seed: seed of the sampling.
    """

    empty = "no cases"

    counts: Sequence[int] | Literal["proportional"] = BUDGETS
    seed: int = 0

    def __post_init__(self) -> None:
        counts = self.counts
        listed = isinstance(counts, Sequence) and not isinstance(counts, str) and len(counts) > 0
        valid = listed and all(is_whole(count, least=1) for count in counts)
        if not valid and counts != "proportional":
            raise InputError(f"counts must be a list of positive whole numbers, or proportional, got {counts}")

    @abstractmethod
    def _resampled(self, layers: Iterable[LayerSamples], counts: Tensor) -> Tensor: ...

    @property
    def _layer_counts(self) -> tuple[int, ...]:
        return BUDGETS if isinstance(self.counts, str) else tuple(self.counts)

    @property
    def _points(self) -> CasePointsRequest:
        allocation: Allocation = "proportional" if isinstance(self.counts, str) else "equal"
        return CasePointsRequest(counts=self._layer_counts, allocation=allocation, seed=self.seed)

    def resampled(self, statistics: Statistics, counts: Tensor) -> Tensor:
        """Compute the score of each resample of the cases.

        Args:
            statistics: the statistics named by `requires`.
            counts: (b, m) integers, how often each case was drawn; cases sorted by name.

        Returns:
            (b,) float64, NaN where undefined.
        """
        return self._resampled(self._from_pass(statistics) or (), counts)

    def compute(self, statistics: Statistics | None = None) -> Score:
        """Compute the score as other metrics do; the reason notes if the network has fewer layers than `counts`."""
        score = super().compute(statistics)
        if statistics is None or len(statistics.taps) >= len(self._layer_counts):
            return score
        fewer = f"{len(statistics.taps)} layers instead of {len(self._layer_counts)}"
        return replace(score, reason="; ".join(filter(None, [fewer, score.reason])))

    def update(self, layers: Sequence[LayerSamples]) -> None:
        """Add cases.

        Args:
            layers: the same layers in every call, with new cases.

        Raises:
            ValueError: if the number of layers differs from before.
        """
        self._add(list(layers))

    def _union(self, a: Iterable[LayerSamples], b: Iterable[LayerSamples]) -> Iterable[LayerSamples]:
        before, added = list(a), list(b)
        if len(before) != len(added):
            raise ValueError(f"`layers` must have {len(before)} layers as before, got {len(added)}")
        return [
            LayerSamples([*old.classes, *new.classes], [*old.scenes, *new.scenes])
            for old, new in zip(before, added, strict=True)
        ]


def _gaussians(layer: LayerSamples, label: int) -> list[Factor | None]:
    """Gaussian of a class in each case; None for fewer than 2 points."""
    samples = (case.get(label) for case in layer.classes)
    return [None if rows is None or len(rows) < 2 else factor_samples(torch.as_tensor(rows)) for rows in samples]


def _left_out(absent: list[int], pairs: Mapping[int, int], m: int) -> str:
    """Describe the classes and pairs that a value leaves out."""
    whole = m * (m - 1) // 2
    partly = [label for label, count in pairs.items() if 0 < count < whole]
    notes = [f"class {absent} left out"] if absent else []
    notes += [f"class {label}: {pairs[label]} of {whole} pairs counted" for label in partly]
    return "; ".join(notes)
