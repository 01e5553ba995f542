"""Base class of the estimates computed from sampled voxels with the features of every stage of a network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from baselines.inputs.arrays import Array, Booleans, Samples, read_labels, read_rows, read_samples, to_numpy
from baselines.inputs.points import joined
from benchmark.metric.standalone import StandaloneMetric, require
from benchmark.statistics import Request, StagePointsRequest, StageSample, Statistics


@dataclass(frozen=True)
class StageSamples:
    """The same samples with the features of each stage.

    Attributes:
        encoder: by stage, fine to coarse; empty if unknown.
        decoder: by stage, coarse to fine; empty if unknown.
        boundary: (n,) whether a voxel has a neighbour of another class.
        absent: why stages are unknown.
    """

    encoder: Mapping[str, Samples]
    decoder: Mapping[str, Samples]
    boundary: Booleans
    absent: str = ""


@dataclass(kw_only=True, eq=False)
class StageMetric(StandaloneMetric[StageSamples]):
    """Base of the estimates computed over the stages; subclasses define `name` and `_score(stages)`.

    Samples that are given to `update` are those of a network with one encoder and one decoder stage, which are equal,
    and all of them count as boundary.

    Attributes:
        class_count: maximum number of points of each class; of k classes at most 4000 // k each, 4,000 in all.
        seed: seed of the sampling.
    """

    reads_stages: ClassVar[bool] = True  # the keys of its jobs have the code that discovers the stages

    class_count: int = 800
    seed: int = 0

    def __post_init__(self) -> None:
        require("class_count", self.class_count, "be at least 2 points", self.class_count >= 2)

    @property
    def requires(self) -> tuple[Request, ...]:
        """A class-balanced sample of points with the features of every stage."""
        return (StagePointsRequest(class_count=self.class_count, seed=self.seed),)

    def update(self, rows: Array, labels: Array) -> None:
        """Add samples; all of them are kept in memory.

        Args:
            rows: (n, d) features.
            labels: (n,) integers in 0 .. k - 1.

        Raises:
            ValueError: if a shape or a type is wrong, or d differs from before.
        """
        samples = read_samples(rows, labels, name="features")
        self._add(StageSamples({"1": samples}, {"1": samples}, np.ones(len(samples.labels), bool)))

    def _from_pass(self, statistics: Statistics) -> StageSamples | None:
        points: StageSample = statistics[self.requires[0]]
        return None if points.table is None else stages_of_pass(points)

    def _union(self, a: StageSamples, b: StageSamples) -> StageSamples:
        encoder, decoder = (
            {name: joined(own, other[name], name="features") for name, own in stages.items()}
            for stages, other in ((a.encoder, b.encoder), (a.decoder, b.decoder))
        )
        return StageSamples(encoder, decoder, np.concatenate([a.boundary, b.boundary]))


def stages_of_pass(points: StageSample) -> StageSamples:
    """The stages of a non-empty sample."""
    encoder, decoder = (
        {name: read_samples(points.stage(name), points.labels) for name, _ in stages}
        for stages in (points.encoder, points.decoder)
    )
    return StageSamples(encoder, decoder, to_numpy(points.boundary), points.absent)


def read_stages(stages: Sequence[Array], labels: Array, *, name: str) -> dict[str, Samples]:
    """Validate the features (n, d) of each stage, where d may differ, with their labels (n,).

    Raises:
        ValueError: if there are no stages, or a shape or a type is wrong.

    Example:
        >>> read_stages([], np.array([0, 1]), name="encoder")
        Traceback (most recent call last):
        ValueError: `encoder` must have at least one stage, got 0
    """
    if not len(stages):
        raise ValueError(f"`{name}` must have at least one stage, got 0")
    targets = read_labels(labels, len(read_rows(stages[0], name=f"{name}[0]")))
    return {
        str(number): read_samples(rows, targets, name=f"{name}[{number - 1}]") for number, rows in enumerate(stages, 1)
    }


def why_unknown(stages: Mapping[str, Samples], kind: str, absent: str = "") -> str:
    """Why no estimate over these stages can be computed, or "".

    Args:
        stages: the samples of each stage.
        kind: "encoder" or "decoder", for the reason.
        absent: why the stages are unknown.
    """
    if not stages:
        return f"the network has no {kind} stages: {absent}"
    reasons = [with_stage(own.undefined, kind, name, stages) for name, own in stages.items() if own.undefined]
    return reasons[0] if reasons else ""


def with_stage(reason: str, kind: str, name: str, stages: Mapping[str, Samples]) -> str:
    """A reason, preceded by the stage if there are several."""
    return reason if len(stages) == 1 else f"{kind} stage {name}: {reason}"
