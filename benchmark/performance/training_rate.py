"""Row on the speed of training with cases of real size, and on the time that the device waits for data."""

import math
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from benchmark.core.torch_settings import training_settings
from benchmark.data.files.cases import Case
from benchmark.performance.loading_data import RealSizeCases
from benchmark.performance.measurement import Check, Measurement
from benchmark.sources.networks.architecture import Architecture
from benchmark.sources.pretrained import Budget
from benchmark.storage.prepared_settings import PreparedSettings, storing_prepared
from benchmark.training.loop import train
from benchmark.training.patches import MOST_WORKERS
from benchmark.training.precision import Precision


@dataclass(frozen=True, kw_only=True)
class TrainingRate:
    """Seconds of training steps on stored cases, over those of the same steps on patches that are ready in memory.

    Every step ends when the device has finished, so what the first takes longer is the time that the device waits for
    data.

    Attributes:
        arch: The network.
        size: The cases, stored as prepared cases are.
        patch: Voxels of a patch along each axis.
        batch: Patches per batch.
        precision: "float32" or "bfloat16".
        workers: Processes that read patches; None: one per core, at most 4, as in training.
        warm_up: Steps before the timed ones.
        timed: Steps that are timed.
        bound: Maximum ratio.
    """

    arch: Architecture
    size: RealSizeCases
    patch: tuple[int, int, int]
    batch: int
    precision: Precision
    workers: int | None
    warm_up: int
    timed: int
    bound: float

    def measure(self, device: str) -> Measurement:
        """Train twice from the same weights; the details give steps a second and the share of time spent waiting."""
        generator = torch.Generator().manual_seed(0)
        labels = torch.zeros(tuple(self.patch), dtype=torch.uint8)
        labels[tuple(slice(side // 4, side // 2) for side in self.patch)] = 1
        ready = [Case("ready", torch.randn(1, *self.patch, generator=generator), labels, (1.0, 1.0, 1.0))]
        with_reading, losses = self._train(self.size.written(), device, augment=True)
        without, _ = self._train(ready, device, augment=False)
        details = {
            "steps_a_second": self.timed / with_reading,
            "steps_a_second_without_reading": self.timed / without,
            "waiting_for_data": max(0.0, 1.0 - without / with_reading),
            "workers": float(self._workers),
        }
        checks = {"losses that are not finite": Check(sum(not math.isfinite(loss) for loss in losses), 0)}
        return Measurement(with_reading, without, "at most", self.bound, device, checks=checks, details=details)

    @property
    def _workers(self) -> int:
        return min(len(os.sched_getaffinity(0)), MOST_WORKERS) if self.workers is None else self.workers

    def _train(self, cases: Sequence[Case], device: str, *, augment: bool) -> tuple[float, list[float]]:
        """Seconds of the timed steps, and the losses of all."""
        network = self.arch.build(channels=1, classes=2, seed=0, device=device)
        budget = Budget(
            self.warm_up + self.timed, self.batch, cast("tuple[int, int, int]", tuple(self.patch)), augment=augment
        )
        ends: list[float] = []
        with (
            tempfile.TemporaryDirectory() as folder,
            storing_prepared(PreparedSettings(Path(folder), workers=self._workers)),
            training_settings(device, deterministic=False),
        ):
            losses = train(
                network,
                cases,
                budget=budget,
                seed=0,
                precision=self.precision,
                report=lambda step, loss: ends.append(time.perf_counter()),
            )
        return ends[-1] - ends[self.warm_up - 1], losses
