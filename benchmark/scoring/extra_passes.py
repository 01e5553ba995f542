"""The passes that some estimates need beside the one over the target: over the source's own data, or perturbed images.

A metric declares them by name in `needs`; each runs once for all metrics that need it. One that cannot run gives the
reason, which becomes that of the metric's NaN.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from benchmark.data.files.case import Case
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.tasks.task import Task
from benchmark.errors import InputError, SkipPair
from benchmark.metric.protocol import ExtraPassMetric, Metric, score_of
from benchmark.metric.score import Score, needed
from benchmark.statistics import Request, Statistics

OWN_SPLIT = "source_train"  # what the suite's sources train on; a task without it has `train` alone


class Reduce(Protocol):
    """Streams cases of k classes through the source's network and reduces what comes out, as `reduce_stream` does."""

    def __call__(self, cases: Iterable[Case], requests: Sequence[Request], *, classes: int, name: str) -> Statistics:
        """The statistics; `name` is the pass's, for a place of its own on disk."""
        ...


@dataclass(frozen=True)
class PassCases:
    """What a pass goes over.

    Attributes:
        cases: read one at a time.
        classes: their number of classes, background included.
    """

    cases: Iterable[Case]
    classes: int


@dataclass(frozen=True)
class ExtraPass:
    """A pass that ran, or why it did not.

    Attributes:
        statistics: what it was reduced to; None where it could not run.
        reason: why it could not; empty where it ran.
        seconds: what it took.
    """

    statistics: Statistics | None
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Perturbation:
    """How images are perturbed, the same for every source.

    Attributes:
        transform: a random transform of MONAI that changes intensities and moves no voxel, (c, D, H, W) to the same.
        seed: of the draws; each case has its own, whatever the order of cases.
    """

    transform: Any
    seed: int = 0

    def __call__(self, cases: Iterable[Case]) -> Iterator[Case]:
        """The cases with perturbed images.

        Args:
            cases: read one at a time.

        Yields:
            Each case with another image.

        Raises:
            ValueError: the transform changes an image's shape.
        """
        for case in cases:
            digest = hashlib.sha256(f"{self.seed}/{case.name}".encode()).digest()
            self.transform.set_random_state(state=np.random.RandomState(int.from_bytes(digest[:4], "big")))
            image = self.transform(case.image.clone())
            if image.shape != case.image.shape:
                shapes = f"{tuple(case.image.shape)}, got {tuple(image.shape)}"
                raise ValueError(f"`transform` must keep the image's shape {shapes}")
            yield replace(case, image=image.as_tensor() if hasattr(image, "as_tensor") else image)


def own_cases(source: object, preparation: Preparation | None, count: int | None) -> PassCases:
    """The cases that a source was trained on.

    Args:
        source: any source; one that knows its data has them as `task`.
        preparation: how they became its input; None: by their task's own.
        count: the first so many; None: all.

    Returns:
        The cases, with the source's own classes.

    Raises:
        SkipPair: the source knows no data of its own.
        InputError: `count` is not positive.
    """
    if count is not None and count < 1:
        raise InputError(f"passes.source.cases must be positive or null, got {count}")
    task: Task | None = getattr(source, "task", None)
    if task is None:
        raise SkipPair(f"source {getattr(source, 'name', '')} has no data of its own")
    split = OWN_SPLIT if task.has(OWN_SPLIT) else "train"
    return PassCases(task.cases(split, preparation)[:count], task.classes)


def run_passes(
    metrics: Iterable[Metric], cases: Mapping[str, Callable[[], PassCases]], reduce: Reduce
) -> dict[str, ExtraPass]:
    """Run every pass that a metric needs.

    Args:
        metrics: the metrics to compute.
        cases: by name of a pass, what finds the cases that it goes over; it raises `SkipPair` where there are none.
        reduce: runs one pass.

    Returns:
        The passes by name.
    """
    users = [metric for metric in metrics if isinstance(metric, ExtraPassMetric)]
    found = {}
    for name in needed(users):
        requests = dict.fromkeys(request for metric in users if name in metric.needs for request in metric.requires)
        start = time.perf_counter()
        try:
            given = cases[name]()
        except SkipPair as skipped:
            found[name] = ExtraPass(None, str(skipped))
            continue
        statistics = reduce(given.cases, list(requests), classes=given.classes, name=name)
        found[name] = ExtraPass(statistics, seconds=time.perf_counter() - start)
    return found


def compute(metric: Metric, statistics: Statistics, passes: Mapping[str, ExtraPass]) -> Score:
    """A metric's score from the pass over the target and the further ones that it needs.

    Args:
        metric: any metric.
        statistics: of the target.
        passes: by name, at least those that the metric needs.

    Returns:
        The score; NaN with the reason where a pass could not run.
    """
    if not isinstance(metric, ExtraPassMetric):
        return score_of(metric, statistics)
    own = {name: passes[name] for name in metric.needs}
    if missing := [found.reason for found in own.values() if found.statistics is None]:
        return Score(math.nan, reason=missing[0])
    return score_of(metric, statistics, **{name: found.statistics for name, found in own.items()})


def seconds(metric: Metric, passes: Mapping[str, ExtraPass]) -> float:
    """What the further passes of a metric took.

    Args:
        metric: any metric.
        passes: by name.

    Returns:
        Seconds, 0 for a metric of one pass.
    """
    return sum(passes[name].seconds for name in needed([metric]))
