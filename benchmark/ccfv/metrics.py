"""Metric classes of CC-FV: the statistics that they require, and the scores computed from them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import ClassVar, Self, TypedDict

from torch import Tensor

from benchmark.ccfv import paper, released
from benchmark.ccfv.layers import Missing, Reduction, Space, Terms
from benchmark.ccfv.paper import ccfv_from_layers
from benchmark.ccfv.released import ccfv_released_from_layers
from benchmark.ccfv.resampled import ccfv_released_resampled, ccfv_resampled
from benchmark.errors import InputError
from benchmark.metric.score import Score
from benchmark.statistics import CasePointsRequest, Request, ScenePointsRequest, Statistics
from benchmark.statistics.layer_samples import LayerSamples


class Options(TypedDict):
    """Options that the paper's formula leaves open; see `ccfv_score`."""

    space: Space
    energy: Reduction
    s: int
    floor: float
    missing: Missing
    terms: Terms


class LayerMetric(ABC):
    """Base of both metrics: samples of layers, from a pass or given to `update`.

    Args:
        counts: points per class and case, for each tapped layer, coarse to fine.
        seed: seed of the sampling.
    """

    name: str
    definition: ClassVar[ModuleType]  # its docstring gives the formula

    def __init__(self, *, counts: Sequence[int] = (100, 200, 400), seed: int = 0) -> None:
        self.counts = tuple(counts)
        self.seed = seed
        self._samples: list[LayerSamples] = []

    @property
    @abstractmethod
    def requires(self) -> tuple[Request, ...]:
        """The statistics that `compute` reads."""

    @abstractmethod
    def _layers(self, statistics: Statistics) -> Iterable[LayerSamples]: ...

    @abstractmethod
    def _score(self, layers: Iterable[LayerSamples]) -> Score: ...

    @abstractmethod
    def resampled(self, statistics: Statistics, counts: Tensor) -> Tensor:
        """Compute the score of each resample of the cases.

        Args:
            statistics: the statistics named by `requires`.
            counts: (b, m) integers, how often each case was drawn; cases sorted by name.

        Returns:
            (b,) float64, NaN where undefined.
        """

    def compute(self, statistics: Statistics | None = None) -> Score:
        """Compute the score from the statistics of a pass, or from the cases given to `update`.

        Args:
            statistics: the statistics named by `requires`; None to use the cases given to `update`.

        Returns:
            The score; the reason notes if the network has fewer layers than `counts`.
        """
        if statistics is None:
            return self._score(self._samples) if self._samples else Score(math.nan, reason="no cases")
        score = self._score(self._layers(statistics))
        if len(statistics.taps) >= len(self.counts):
            return score
        fewer = f"{len(statistics.taps)} layers instead of {len(self.counts)}"
        return Score(score.value, reason="; ".join(filter(None, [fewer, score.reason])), parts=score.parts)

    def update(self, layers: Sequence[LayerSamples]) -> None:
        """Add cases.

        Args:
            layers: the same layers in every call, with new cases.

        Raises:
            ValueError: if the number of layers differs from before.
        """
        if self._samples and len(layers) != len(self._samples):
            raise ValueError(f"`layers` must have {len(self._samples)} layers as before, got {len(layers)}")
        before = self._samples or [LayerSamples([], []) for _ in layers]
        self._samples = [
            LayerSamples([*old.classes, *new.classes], [*old.scenes, *new.scenes])
            for old, new in zip(before, layers, strict=True)
        ]

    def merge(self, other: Self) -> Self:
        """Add the cases of another metric.

        Args:
            other: a metric of the same class; not changed.

        Returns:
            This metric.
        """
        if other._samples:
            self.update(other._samples)
        return self

    def reset(self) -> None:
        """Remove all cases."""
        self._samples = []


class CCFV(LayerMetric):
    """CC-FV by the paper's formula; the arguments are those of `ccfv_score` and of the sampling.

    Args:
        counts: points per class and case, for each tapped layer, coarse to fine.
        scene_count: points per case, uniform over its voxels, for the variety.
        seed: seed of the sampling.
        space: "unit" or "raw".
        energy: "mean" or "sum".
        s: exponent of the energy.
        floor: smallest distance of the energy.
        missing: "undefined" or "skip".
        terms: "both", "consistency" or "variety".
        places: indices of the layers in `counts` that are scored, 0 the coarsest; None for all.
    """

    name = "ccfv"
    definition: ClassVar[ModuleType] = paper

    def __init__(
        self,
        *,
        counts: Sequence[int] = (100, 200, 400),
        scene_count: int = 1000,
        seed: int = 0,
        space: Space = "unit",
        energy: Reduction = "mean",
        s: int = 1,
        floor: float = 1e-3,
        missing: Missing = "undefined",
        terms: Terms = "both",
        places: Sequence[int] | None = None,
    ) -> None:
        super().__init__(counts=counts, seed=seed)
        self.scene_count = scene_count
        self.space: Space = space
        self.energy: Reduction = energy
        self.s = s
        self.floor = floor
        self.missing: Missing = missing
        self.terms: Terms = terms
        self.places = tuple(range(len(self.counts))) if places is None else tuple(places)
        if not set(self.places) <= set(range(len(self.counts))) or not self.places:
            raise InputError(f"places must be indices of counts, 0 to {len(self.counts) - 1}, got {places}")

    @property
    def _options(self) -> Options:
        return {"space": self.space, "energy": self.energy, "s": self.s, "floor": self.floor,
                "missing": self.missing, "terms": self.terms}  # fmt: skip

    @property
    def requires(self) -> tuple[Request, ...]:
        """Points per class and case, and points per case."""
        return self._points, self._scenes

    @property
    def _points(self) -> CasePointsRequest:
        return CasePointsRequest(counts=self.counts, seed=self.seed)

    @property
    def _scenes(self) -> ScenePointsRequest:
        return ScenePointsRequest(count=self.scene_count, layers=len(self.counts), seed=self.seed)

    def _layers(self, statistics: Statistics) -> Iterable[LayerSamples]:
        points, scenes = statistics[self._points], statistics[self._scenes]
        chosen = {place - len(self.counts) for place in self.places}
        for layer in sorted(chosen & set(range(-points.n_layers, 0))):
            yield LayerSamples(points.classes(layer), scenes.scenes(layer))

    def _score(self, layers: Iterable[LayerSamples]) -> Score:
        return ccfv_from_layers(layers, **self._options)

    def resampled(self, statistics: Statistics, counts: Tensor) -> Tensor:
        """Compute the score of each resample of the cases; see `ccfv_resampled`."""
        layers = self._layers(statistics)
        return ccfv_resampled(layers, counts, **self._options)


class CCFVReleased(LayerMetric):
    """CC-FV as released; `g_i` is the mean of the points of all classes of a case, background included.

    Args:
        counts: points per class and case, for each tapped layer, coarse to fine.
        seed: seed of the sampling.
    """

    name = "ccfv_released"
    definition: ClassVar[ModuleType] = released

    @property
    def requires(self) -> tuple[Request, ...]:
        """Points per class and case."""
        return (CasePointsRequest(counts=self.counts, seed=self.seed),)

    def _layers(self, statistics: Statistics) -> Iterable[LayerSamples]:
        points = statistics[self.requires[0]]
        for layer in range(-points.n_layers, 0):
            yield LayerSamples(points.classes(layer), points.scenes(layer))

    def _score(self, layers: Iterable[LayerSamples]) -> Score:
        return ccfv_released_from_layers(layers)

    def resampled(self, statistics: Statistics, counts: Tensor) -> Tensor:
        """Compute the score of each resample of the cases; see `ccfv_released_resampled`."""
        return ccfv_released_resampled(self._layers(statistics), counts)
