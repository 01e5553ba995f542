"""What a race will take: steps, time and disk, from one timed training step of each candidate."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from benchmark.core.torch_settings import restored_settings
from benchmark.data.tasks.task import Split, Task
from benchmark.errors import one_line
from benchmark.racing.halving import FEWEST_CASES, Race
from benchmark.racing.plan import RacePlan
from benchmark.ranking.cost import FineTuningWork, step_seconds
from benchmark.ranking.source_errors import FAULTS, SourceError, blamed_on_source, stopping
from benchmark.sources.opening import open_model
from benchmark.sources.pairing import paired
from benchmark.tracking import Store
from benchmark.training.trainer import Trainer


@dataclass(frozen=True)
class CandidateCost:
    """What a candidate costs.

    Attributes:
        seconds: Seconds of one training step.
        state_bytes: Size of its training state and of the weights of its last rung, which are kept beside it.
        prepared: Key -> bytes of each prepared case, before compression; candidates may share them.
    """

    seconds: float
    state_bytes: int
    prepared: Mapping[str, int]


@dataclass(frozen=True)
class RaceForecast:
    """The expected cost of a race.

    Attributes:
        race: The race before its start.
        seeds: Number of seeds.
        cases: Number of validation cases.
        costs: Candidate -> its cost.
        untimed: Candidate -> why it could not be timed.
    """

    race: Race
    seeds: int
    cases: int
    costs: Mapping[str, CandidateCost]
    untimed: Mapping[str, str]

    @property
    def steps(self) -> tuple[int, int]:
        """Steps of halving alone, and the maximum that the budget allows; without intervals nobody else continues."""
        min_steps = self.race.remaining(len(self.race.candidates))
        allowed = int(self.race.budget * self.race.total) if self.cases >= FEWEST_CASES else 0
        return min_steps * self.seeds, max(min_steps, allowed) * self.seeds

    def seconds(self, steps: int) -> float:
        """Seconds of one core or device for so many steps of the mean candidate; NaN if none could be timed."""
        known = [cost.seconds for cost in self.costs.values()]
        return steps * sum(known) / len(known) if known else math.nan

    @property
    def state_bytes(self) -> float:
        """Size of what all trainings keep, each of the mean size; NaN if no candidate could be timed."""
        known = [cost.state_bytes for cost in self.costs.values()]
        return sum(known) / len(known) * len(self.race.candidates) * self.seeds if known else math.nan

    @property
    def prepared_bytes(self) -> int:
        """Size of all prepared cases of the candidates that could be timed, before compression."""
        prepared: dict[str, int] = {}
        for cost in self.costs.values():
            prepared |= cost.prepared
        return sum(prepared.values())


def forecast_race(
    plan: RacePlan, race: Race, target: Task, trainer: Trainer, store: Store, *, seeds: int, device: str, output: Path
) -> RaceForecast:
    """Time one training step of each candidate.

    A candidate that fails here is listed as untimed; the race reports it again.

    Raises:
        InputError: What is not a candidate's fault, such as a case that cannot be read.
    """
    work = FineTuningWork.of(trainer, seeds=1)
    costs: dict[str, CandidateCost] = {}
    untimed: dict[str, str] = {}
    for name, node in plan.candidates.items():
        try:
            with restored_settings(), blamed_on_source("while one training step was timed"):
                pair = paired(open_model(OmegaConf.create(dict(node)), store, output), target, **plan.preparation)
                arch = pair.model.arch
                network = arch.build(channels=target.channels, classes=target.classes, seed=0, device=device)
                window = arch.fit(work.patch or pair.model.patch or (96, 96, 96))
                seconds = step_seconds(network, channels=target.channels, window=window, device=device)
                nbytes = sum(weight.numel() * weight.element_size() for weight in network.parameters())
                requests = [
                    request
                    for split in (Split.TRAIN, Split.VALIDATION)
                    for request in target.cases(split, pair.preparation).requests
                ]
                costs[name] = CandidateCost(
                    work.seconds(seconds, window) / work.steps,
                    (2 + trainer.moments) * nbytes,
                    {request.key: request.estimated_bytes for request in requests},
                )
        except FAULTS as error:
            if (stop := stopping(error)) is not None:
                raise stop from error
            failed = f"it failed {error.doing}: " if isinstance(error, SourceError) else ""
            untimed[name] = failed + one_line(error.__cause__ or error)
    return RaceForecast(race, seeds, len(target.names(Split.VALIDATION)), costs, untimed)
