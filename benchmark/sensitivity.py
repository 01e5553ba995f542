"""Sensitivity of a bench's results to its settings; `python -m benchmark.sensitivity experiment=scans`.

Missing jobs of the bench run first. Each part of conf/sensitivity.yaml then compares variants with the default: a
variant is a list of overrides of `score`, or of `truth` for one target. All jobs use the bench's launcher, and jobs
with a finished run are skipped. Runs of variants have the tag `variant`, and no other table reads them.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmark.errors import InputError
from benchmark.jobs.cli import composed, resolved, run_command
from benchmark.jobs.keys import job_key
from benchmark.orchestration.pipeline import Bench, finish, interrupted, keys_of, launcher_overrides, run_stages
from benchmark.orchestration.planner import Job, Planner
from benchmark.tracking import Store
from benchmark.tracking.records import Row, score_frame, source_frame, truth_frame

if TYPE_CHECKING:
    from analysis.sensitivity.report import Findings


@dataclass(frozen=True)
class Planned:
    """Planned jobs of one variant.

    Attributes:
        part: Name of its part.
        name: Its name within the part.
        stage: "score" or "truth".
        overrides: Overrides of its settings and its tag.
        jobs: One job per pair.
    """

    part: str
    name: str
    stage: str
    overrides: tuple[str, ...]
    jobs: Sequence[Job]


def run(cfg: DictConfig) -> None:
    """Run missing jobs of the bench, then every variant, and report the comparison."""
    store: Store = instantiate(cfg.tracking)
    store.prepare()
    folder = Path(cfg.output_dir) / "sensitivity" / "jobs" / time.strftime("%Y-%m-%d_%H-%M-%S")
    bench = Bench(cfg, store, launcher_overrides(), folder)
    planner = Planner(cfg.suite, bench.overrides())
    try:
        plan = run_stages(bench, planner, set(store.finished()))
        if plan is not None:
            variants = _run_variants(bench, planner, plan)
            if not bench.failures:
                _report(bench, plan, variants)
    except KeyboardInterrupt:
        interrupted(bench, "sensitivity")
    finish(bench, "sensitivity")


def _run_variants(bench: Bench, planner: Planner, plan: Mapping[str, Sequence[Job]]) -> list[Planned]:
    pools, pretrained = planner.pools(), {job.overrides[0].partition("=")[2]: job.keys[0] for job in plan["pretrain"]}
    parts = [plan_part(str(name), part, planner, pools, pretrained) for name, part in bench.cfg.parts.items()]
    variants = [variant for part in parts for variant in part]
    finished = set(bench.store.finished())
    for variant in variants:
        bench.expect(variant.jobs, finished)
    bench.folder /= "variants"  # separates the logs of these jobs from those of the bench
    bench.folder.mkdir()
    for stage in ("score", "truth"):
        jobs = [job for variant in variants if variant.stage == stage for job in variant.jobs]
        if jobs:
            bench.say(f"variants, {stage}:")
            bench.stage(stage, jobs, bench.overrides()[stage], finished)
    return variants


def plan_part(
    name: str, part: DictConfig, planner: Planner, pools: Mapping[str, Sequence[str]], pretrained: Mapping[str, str]
) -> list[Planned]:
    """Plan the jobs of each variant of a part.

    Args:
        name: The part's name.
        part: Its config: `metrics` and `score`, or `target`, `seeds` and `truth`, each variant a list of overrides.
        planner: The planner of the bench.
        pools: Target -> the sources of its pool.
        pretrained: Source -> key of its pre-training.

    Raises:
        InputError: The target is not in the suite.
    """
    planned = []
    for variant, given in part.get("score", {}).items():
        overrides = (f"metric=[{','.join(part.metrics)}]", f"variant={name}/{variant}", *given)
        planned.append(Planned(name, str(variant), "score", overrides, planner.score(pools, pretrained, overrides)))
    for variant, given in part.get("truth", {}).items():
        if part.target not in pools:
            raise InputError(f"parts.{name}.target must be one of {', '.join(pools)}, got {part.target}")
        overrides = (f"variant={name}/{variant}", *given)
        pool = {source: pretrained[source] for source in pools[part.target]}
        jobs = planner.tuned(part.target, part.seeds, overrides, pool)
        planned.append(Planned(name, str(variant), "truth", overrides, jobs))
    return planned


def _report(bench: Bench, plan: Mapping[str, Sequence[Job]], variants: Sequence[Planned]) -> None:
    from analysis.sensitivity.report import report

    cfg, keys = bench.cfg, keys_of(plan)
    rows = {stage: bench.store.finished(stage) for stage in plan}
    planned = {stage: [rows[stage][key] for key in own] for stage, own in keys.items()}
    findings = _findings(cfg, Frames(bench.overrides()["score"], planned), variants, rows)
    jobs = sorted(key for variant in variants for job in variant.jobs for key in job.keys)
    bench_jobs = {stage: sorted(own) for stage, own in keys.items()}
    settings = {"resamples": cfg.resamples, "seed": cfg.seed, "bench": bench_jobs}
    key = job_key("variant", "analysis.sensitivity.report", {"jobs": jobs, "settings": settings})
    folder = Path(cfg.output_dir) / "sensitivity" / str(cfg.suite.name)
    report(findings, bench.store, key=key, suite=cfg.suite.name, config=resolved(cfg), folder=folder)


@dataclass(frozen=True)
class Frames:
    """Data frames of the bench's own rows.

    Attributes:
        overrides: Overrides of every score job.
        rows: Stage -> rows.
    """

    overrides: Sequence[str]
    rows: Mapping[str, Sequence[Row]]

    @property
    def truth(self) -> pd.DataFrame:
        """Truths with the value of `tune` that most targets use."""
        from analysis.truth.pools import main_tune, pools

        frame = truth_frame(self.rows["truth"])
        return frame[frame["tune"] == main_tune(pools(frame))]

    @property
    def sources(self) -> pd.DataFrame:
        """One line per source."""
        return source_frame(self.rows["pretrain"])

    def scores(self, rows: Sequence[Row], overrides: Sequence[str] = ()) -> pd.DataFrame:
        """Scores of rows; scores that are normalised over a pool are combined."""
        metrics = composed("score", [*self.overrides, *overrides]).metric
        return score_frame(rows, {str(name): instantiate(node) for name, node in metrics.items()})


def _findings(
    cfg: DictConfig, frames: Frames, variants: Sequence[Planned], rows: Mapping[str, Mapping[str, Row]]
) -> "Findings":
    from analysis.sensitivity.report import Findings
    from analysis.sensitivity.variants import Variant, VariantDraws, compare_scores, compare_truths

    draws = VariantDraws(
        cfg.resamples, cfg.seed, {str(target): str(scan) for target, scan in cfg.suite.targets.items()}
    )
    default = frames.scores(frames.rows["score"])
    scores: list[Variant] = []
    truths: dict[str, dict[str, pd.DataFrame]] = {}
    for plan in variants:
        own = [rows[plan.stage][key] for job in plan.jobs for key in job.keys]
        if plan.stage == "truth":
            truths.setdefault(plan.part, {})[plan.name] = truth_frame(own)
        else:
            scores.append(Variant(plan.part, plan.name, frames.scores(own, plan.overrides), _forwarded(own)))
    scored = compare_scores(frames.truth, frames.sources, default, scores, draws=draws) if scores else pd.DataFrame()
    tuned = {
        part: compare_truths(frame, frames.sources, _only(default, cfg.parts[part].metrics), draws=draws)
        for part, frame in truths.items()
    }
    return Findings({str(name): str(part.asks) for name, part in cfg.parts.items()}, scored, tuned)


def _only(scores: pd.DataFrame, metrics: Sequence[Any]) -> pd.DataFrame:
    return scores[scores["metric"].isin(list(metrics))]


def _forwarded(rows: Sequence[Row]) -> float:
    """Share of the windows that were forwarded; NaN if every pair was skipped."""
    forwarded, total = (sum(row.metrics.get(f"windows/{name}", 0.0) for row in rows) for name in ("forwarded", "all"))
    return forwarded / total if total else math.nan


def main() -> None:
    """Entry point."""
    run_command("sensitivity", run, limited=False)


if __name__ == "__main__":
    main()
