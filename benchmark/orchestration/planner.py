"""Plans the jobs of a study: which source is paired with which target, in which order, with which keys."""

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
    """

    suite: DictConfig
    overrides: Mapping[str, Sequence[str]]
    fine_tuned: bool = True

    def prepare(self) -> list[Job]:
        """One job per task."""
        return [
            Job((f"task={task}",), (prepare_key(self._compose("prepare", f"task={task}").task),), 6.0)
            for task in self.suite.tasks
        ]

    def pretrain(self) -> list[Job]:
        """One job per source, the longest first, so that no core waits for a long job at the end."""
        jobs = []
        for name in self.suite.sources:
            source = self._compose("pretrain", f"source={name}").source
            jobs.append(Job((f"source={name}",), (pretrain_key(source),), 2.0 + _training(source, source.budget)))
        return sorted(jobs, key=lambda job: -job.work)

    def pools(self) -> dict[str, list[str]]:
        """Target -> the sources of its pool."""
        sources = {name: self._compose("pretrain", f"source={name}").source for name in self.suite.sources}
        labels = {name: _classes(instantiate(node.task)) if node.task else set() for name, node in sources.items()}
        pools = {}
        for target in self.suite.targets:
            own = _classes(instantiate(self._compose("truth", f"target={target}").target))
            same = self.suite.pool == "include_same_class"
            pools[target] = [
                name
                for name, node in sources.items()
                if not (node.task and node.task.name == target) and (same or not labels[name] & own)
            ]
        return pools

    def after_prepare(self) -> dict[str, list[Job]]:
        """Stage -> its jobs, for the stages that need the data of `prepare`, in order."""
        sources = self.pretrain()
        pretrained = {job.overrides[0].partition("=")[2]: job.keys[0] for job in sources}
        pools = self.pools()
        truth = {"truth": self.truth(pools, pretrained)} if self.fine_tuned else {}
        return {"pretrain": sources, **truth, "score": self.score(pools, pretrained)}

    def truth(self, pools: Mapping[str, Sequence[str]], pretrained: Mapping[str, str]) -> list[Job]:
        """One job per source and target, with all seeds, then the further truths of `suite.beside`."""
        main = [(target, self.suite.seeds, ()) for target in pools]
        further = [(node.target, node.seeds, tuple(node.overrides)) for node in self.suite.beside]
        return [
            job
            for target, seeds, other in [*main, *further]
            for job in self.tuned(target, seeds, other, {name: pretrained[name] for name in pools[target]})
        ]

    def tuned(self, target: str, seeds: Sequence[int], other: Sequence[str], pool: Mapping[str, str]) -> list[Job]:
        """One job per source of one target, with all seeds.

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
        """One job per source and target, with optional further overrides."""
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
    voxels = (budget.batch or 2) * math.prod(budget.patch or source.budget.patch) / (2 * 24**3)  # null: planned
    return float(steps * voxels * (0.005 + 0.0044 * source.arch.width))


def _classes(task: object) -> set[str]:
    """Foreground class names in one spelling, so that `Liver` and `liver ` match."""
    labels: Mapping[int, str] = getattr(task, "labels", {})
    return {re.sub(r"[\s_-]+", " ", name.strip().lower()) for value, name in labels.items() if value != 0}
