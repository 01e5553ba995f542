"""Plans the jobs of a study: which source is paired with which target, in which order, with which keys."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import cast

from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmark.data.tasks.task import class_names
from benchmark.errors import InputError
from benchmark.jobs.cli import composed, resolved
from benchmark.jobs.stage_keys import prepare_key, pretrain_key, score_keys, truth_keys

CORRELATE = 0.024  # seconds of one core that the analysis takes per pair and metric
TUNING = 0.9  # time of a step that tunes a part of the network, as a share of a full step's
# architecture -> time of a step as a share of a DynUNet's of the same width; measured 0.16 to 0.22 and 0.34 to 0.47
STEP = {"unet": 0.2, "resunet": 0.4}
NNUNET = 9.0  # seconds of one core that a run of nnU-Net's trainer takes besides its steps, on small data


@dataclass(frozen=True)
class Job:
    """A job to launch.

    Attributes:
        overrides: The job's own overrides.
        keys: The keys of its runs; one per seed for a fine-tuning job.
        work: Rough estimate of its seconds on one core, used only for the remaining time.
    """

    overrides: tuple[str, ...]
    keys: tuple[str, ...]
    work: float


@dataclass(frozen=True)
class Planner:
    """Composes the configs of each stage with the overrides of the bench and computes job keys.

    Attributes:
        suite: The suite: tasks, targets, sources, seeds, pool.
        overrides: Stage -> overrides of its jobs.
        fine_tuned: Whether the truth is fine-tuned; if False, it is read from a table and has no jobs.
        repeats: Name -> (source, seed) of the suite's sources that are pre-trained again with other seeds. If given,
            the jobs are those of the repeats in place of the suite's sources.
    """

    suite: DictConfig
    overrides: Mapping[str, Sequence[str]]
    fine_tuned: bool = True
    repeats: Mapping[str, tuple[str, int]] | None = None
    _composed: dict[tuple[str, ...], DictConfig] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def choices(self) -> dict[str, tuple[str, ...]]:
        """Source -> the overrides by which a job chooses it."""
        if self.repeats is None:
            return {name: (f"source={name}",) for name in self.suite.sources}
        return {
            name: (f"source={source}", f"source.name={name}", f"source.seed={seed}")
            for name, (source, seed) in self.repeats.items()
        }

    @cached_property
    def sources(self) -> dict[str, DictConfig]:
        """Source -> its config."""
        return {name: self._compose("pretrain", *choice).source for name, choice in self.choices.items()}

    def with_repeats(self, repeats: Mapping[str, tuple[str, int]]) -> "Planner":
        """The planner of the repeats of sources; `repeats` as the attribute."""
        return replace(self, repeats=repeats)

    def check(self) -> None:
        """Refuse settings of sources and trainer that only their jobs would refuse, before any job runs.

        Raises:
            InputError: A setting is invalid.
        """
        for node in self.sources.values():
            instantiate(node)
        if self.fine_tuned:
            instantiate(self._compose("truth").trainer)

    @cached_property
    def pretrained(self) -> dict[str, str]:
        """Source -> the key of its pre-training, which needs the data of `prepare`."""
        return {name: pretrain_key(node) for name, node in self.sources.items()}

    @cached_property
    def pools(self) -> dict[str, list[str]]:
        """Target -> the sources of its pool."""
        tasks = {name: instantiate(node.task) for name, node in self.sources.items()}
        labels = {name: class_names(task.labels if task else {}) for name, task in tasks.items()}
        same = self.suite.pool == "include_same_class"
        pools = {}
        for target in self.suite.targets:
            own = class_names(instantiate(self._compose("truth", f"target={target}").target).labels)
            pools[target] = [
                name
                for name, node in self.sources.items()
                if not (node.task and node.task.name == target) and (same or not labels[name] & own)
            ]
        return pools

    def prepare(self) -> list[Job]:
        """One job per task."""
        nodes = {task: self._compose("prepare", f"task={task}").task for task in self.suite.tasks}
        return [Job((f"task={task}",), (prepare_key(node),), 10.0) for task, node in nodes.items()]

    def after_prepare(self) -> dict[str, list[Job]]:
        """Stage -> its jobs, for the stages that need the data of `prepare`, in order."""
        truth = {"truth": self.truth()} if self.fine_tuned else {}
        return {"pretrain": self.pretrain(), **truth, "score": self.score()}

    def pretrain(self) -> list[Job]:
        """One job per source, the longest first, so that no core waits for a long job at the end."""
        work = {
            name: 2.0 + _training(node, node.budget) + (NNUNET if node.get("trainer") and node.task else 0.0)
            for name, node in self.sources.items()
        }
        jobs = [Job(self.choices[name], (key,), work[name]) for name, key in self.pretrained.items()]
        return sorted(jobs, key=lambda job: -job.work)

    def truth(self) -> list[Job]:
        """One job per source and target, with all seeds, then the further truths of `suite.beside`.

        A further truth that the bench's overrides make the study's is left out.

        Raises:
            InputError: A further truth tunes the same part of the network as another one, but differs otherwise.
        """
        main = [job for target in self.pools for job in self.tuned(target, self.suite.seeds)]
        further = []
        for node in self.suite.beside:
            study, own = (self._compose("truth", f"target={node.target}", *more) for more in ((), node.overrides))
            if all(resolved(study[part]) == resolved(own[part]) for part in ("trainer", "preparation")):
                continue
            if study.trainer.tune == own.trainer.tune:
                raise InputError(
                    f"suite.beside must tune another part of the network for target {node.target} than the study, "
                    f"which tunes {study.trainer.tune} with other settings, got {', '.join(node.overrides)}"
                )
            further += self.tuned(node.target, node.seeds, tuple(node.overrides))
        return [*main, *further]

    def trainer_of(self, target: str) -> DictConfig:
        """The trainer's config for a target."""
        return cast("DictConfig", self._compose("truth", f"target={target}").trainer)

    def tuned(
        self, target: str, seeds: Sequence[int], other: Sequence[str] = (), *, sources: Sequence[str] | None = None
    ) -> list[Job]:
        """One job per source of one target, with all seeds and further overrides; by default for its whole pool."""
        jobs = []
        overrides = (f"target={target}", f"seeds=[{','.join(map(str, seeds))}]", *other)
        cfg = self._compose("truth", *overrides)
        data = instantiate(cfg.target).digest()
        for source in self.pools[target] if sources is None else sources:
            keys = truth_keys(cfg, pretrained=self.pretrained[source], data=data)
            fixed = NNUNET if "epochs" in cfg.trainer.budget else 0.5
            work = 1.0 + len(keys) * (fixed + TUNING * _training(self.sources[source], cfg.trainer.budget))
            jobs.append(Job((*self.choices[source], *overrides), tuple(keys.values()), work))
        return jobs

    def score(self, other: Sequence[str] = ()) -> list[Job]:
        """One job per source and target, with further overrides."""
        jobs = []
        for target, sources in self.pools.items():
            cfg = self._compose("score", f"target={target}", *other)
            data = instantiate(cfg.target).digest()
            for source in sources:
                key, _ = score_keys(cfg, pretrained=self.pretrained[source], data=data)
                jobs.append(Job((*self.choices[source], f"target={target}", *other), (key,), 2.6))
        return jobs

    def correlate_work(self) -> float:
        """Rough estimate of the seconds that the analysis takes on one core."""
        return CORRELATE * sum(map(len, self.pools.values())) * len(self._compose("score").metric)

    def _compose(self, stage: str, *overrides: str) -> DictConfig:
        """The config of a stage's command; composing one takes some 0.3 s, so each is composed once."""
        if (stage, *overrides) not in self._composed:
            self._composed[stage, *overrides] = composed(stage, [*self.overrides[stage], *overrides])
        return self._composed[stage, *overrides]


def _training(source: DictConfig, budget: DictConfig) -> float:
    """Seconds: a DynUNet's step with two patches of 24^3 took 0.04 s at width 8 and 0.075 s at width 16 on one core."""
    steps = budget.steps if "steps" in budget else budget.epochs * budget.iterations
    voxels = (budget.batch or 2) * math.prod(budget.patch or source.budget.patch) / (2 * 24**3)  # null: planned
    share = STEP.get(source.arch.get("name"), 1.0)
    return float(steps * voxels * share * (0.005 + 0.0044 * source.arch.width))
