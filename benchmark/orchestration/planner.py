"""The jobs of the whole study: who is paired with whom, in which order, and what is finished."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmark.jobs.cli import composed
from benchmark.jobs.stage_keys import prepare_key, pretrain_key, score_keys, truth_keys


@dataclass(frozen=True)
class Job:
    """A job to launch.

    Attributes:
        overrides: The job's own overrides.
        keys: The keys that it finishes; several where one job serves several seeds.
        work: Roughly its seconds on one core; only the remaining time that is shown depends on it.
    """

    overrides: tuple[str, ...]
    keys: tuple[str, ...]
    work: float


@dataclass(frozen=True)
class Planner:
    """Composes each stage's configs with the bench's overrides and works out keys.

    Attributes:
        suite: The suite: tasks, targets, sources, seeds, pool.
        overrides: Stage -> overrides of each of its jobs.
        fine_tuned: Whether the truth is fine-tuned; if not, it comes from a table and has no jobs.
    """

    suite: DictConfig
    overrides: Mapping[str, Sequence[str]]
    fine_tuned: bool = True

    def prepare(self) -> list[Job]:
        """A job for each task."""
        return [
            Job((f"task={task}",), (prepare_key(self._compose("prepare", f"task={task}").task),), 6.0)
            for task in self.suite.tasks
        ]

    def pretrain(self) -> list[Job]:
        """A job for each source, the longest first so that no core waits for a late long one."""
        jobs = []
        for name in self.suite.sources:
            source = self._compose("pretrain", f"source={name}").source
            jobs.append(Job((f"source={name}",), (pretrain_key(source),), 2.0 + _training(source, source.budget)))
        return sorted(jobs, key=lambda job: -job.work)

    def pools(self) -> dict[str, list[str]]:
        """Target -> the sources that may be moved to it."""
        sources = {name: self._compose("pretrain", f"source={name}").source for name in self.suite.sources}
        labels = {name: _classes(instantiate(node.task)) if node.task else set() for name, node in sources.items()}
        found = {}
        for target in self.suite.targets:
            own = _classes(instantiate(self._compose("truth", f"target={target}").target))
            same = self.suite.pool == "include_same_class"
            found[target] = [
                name
                for name, node in sources.items()
                if not (node.task and node.task.name == target) and (same or not labels[name] & own)
            ]
        return found

    def after_prepare(self) -> dict[str, list[Job]]:
        """Stage -> its jobs, of the stages that need the tasks' data to be there, in their order."""
        sources = self.pretrain()
        pretrained = {job.overrides[0].partition("=")[2]: job.keys[0] for job in sources}
        pools = self.pools()
        truth = {"truth": self.truth(pools, pretrained)} if self.fine_tuned else {}
        return {"pretrain": sources, **truth, "score": self.score(pools, pretrained)}

    def truth(self, pools: Mapping[str, Sequence[str]], pretrained: Mapping[str, str]) -> list[Job]:
        """A job for each source and target, with every seed; then the targets that are also tuned otherwise."""
        main = [(target, self.suite.seeds, ()) for target in pools]
        beside = [(one.target, one.seeds, tuple(one.overrides)) for one in self.suite.beside]
        return [
            job
            for target, seeds, other in [*main, *beside]
            for job in self.tuned(target, seeds, other, {name: pretrained[name] for name in pools[target]})
        ]

    def tuned(self, target: str, seeds: Sequence[int], other: Sequence[str], pool: Mapping[str, str]) -> list[Job]:
        """A job for each source of one target, with every seed.

        Args:
            target: The target.
            seeds: The fine-tuning seeds.
            other: Further overrides of these jobs.
            pool: Source -> key of its pre-training.
        """
        jobs = []
        listed = ",".join(str(seed) for seed in seeds)
        overrides = (f"target={target}", f"seeds=[{listed}]", *other)
        cfg = self._compose("truth", *overrides)
        data = instantiate(cfg.target).digest()
        for source, pretrained in pool.items():
            keys = truth_keys(cfg, pretrained=pretrained, data=data)
            node = self._compose("pretrain", f"source={source}").source
            work = 2.0 + len(keys) * (0.5 + _training(node, cfg.trainer.budget))
            jobs.append(Job((f"source={source}", *overrides), tuple(keys.values()), work))
        return jobs

    def score(
        self, pools: Mapping[str, Sequence[str]], pretrained: Mapping[str, str], other: Sequence[str] = ()
    ) -> list[Job]:
        """A job for each source and target, with further overrides if there are."""
        jobs = []
        for target, sources in pools.items():
            cfg = self._compose("score", f"target={target}", *other)
            data = instantiate(cfg.target).digest()
            for source in sources:
                key, _ = score_keys(cfg, pretrained=pretrained[source], data=data)
                jobs.append(Job((f"source={source}", f"target={target}", *other), (key,), 4.0))
        return jobs

    def _compose(self, stage: str, *overrides: str) -> DictConfig:
        return composed(stage, [*self.overrides[stage], *overrides])


def _training(source: DictConfig, budget: DictConfig) -> float:
    """Seconds: a step with two patches of 24^3 took 0.04 s at width 8 and 0.075 s at width 16 on one core."""
    steps = budget.steps if "steps" in budget else budget.epochs * budget.iterations
    voxels = (budget.batch or 2) * math.prod(budget.patch or source.budget.patch) / (2 * 24**3)  # null: as planned
    return float(steps * voxels * (0.005 + 0.0044 * source.arch.width))


def _classes(task: object) -> set[str]:
    """Class names in one spelling: `Liver` and `liver ` are one organ."""
    labels: Mapping[int, str] = getattr(task, "labels", {})
    return {re.sub(r"[\s_-]+", " ", name.strip().lower()) for value, name in labels.items() if value != 0}
