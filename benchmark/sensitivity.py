"""Sensitivity of a bench's results to its settings; `python -m benchmark.sensitivity experiment=scans`.

Missing jobs of the bench run first. Each part of conf/sensitivity.yaml then compares variants with the default: a
variant is a list of overrides of `score`, or of `truth` for one target; a part with `race` replays races from the
bench's truth and runs no job. All jobs use the bench's launcher, and jobs
with a finished run are skipped. Runs of variants have the tag `variant`, and no other table reads them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmark.errors import InputError
from benchmark.jobs.cli import composed, entry_point, resolved
from benchmark.jobs.keys import job_key
from benchmark.orchestration.pipeline import Bench, finish, interrupted, keys_of, run_stages
from benchmark.orchestration.planner import Job, Planner
from benchmark.tracking.records import Row, rung_frame, score_frame, source_frame, truth_frame

if TYPE_CHECKING:
    from analysis.evaluation.race_replay import RaceReplay
    from analysis.sensitivity.report import Findings


@dataclass(frozen=True)
class Planned:
    """Planned jobs of one variant of a part, one job per pair; the overrides set its tag, too."""

    part: str
    name: str
    stage: str
    overrides: tuple[str, ...]
    jobs: Sequence[Job]


def run(cfg: DictConfig) -> None:
    """Run missing jobs of the bench, then every variant, and report the comparison."""
    bench = Bench(cfg, Path(cfg.output_dir) / "sensitivity" / "jobs")
    planner = Planner(cfg.suite, bench.overrides())
    planner.check()
    _check_parts(bench, planner)
    try:
        plan = run_stages(bench, planner, set(bench.store.finished()))
        if plan is not None:
            variants = _run_variants(bench, planner)
            if not bench.failures:
                _report(bench, plan, variants)
    except KeyboardInterrupt:
        interrupted(bench, "sensitivity")
    finish(bench, "sensitivity")


def _check_parts(bench: Bench, planner: Planner) -> None:
    """Refuse what only the variants' jobs, which come after those of the bench, would refuse."""
    for name, part in bench.cfg.parts.items():
        if "truth" in part and part.target not in planner.pools:
            raise InputError(f"parts.{name!s}.target must be one of {', '.join(planner.pools)}, got {part.target}")
        for given in part.get("score", {}).values():
            scored = composed("score", [*bench.overrides()["score"], _metrics(part), *given])
            for node in scored.metric.values():
                instantiate(node)
        for given in part.get("truth", {}).values():
            instantiate(composed("truth", [*bench.overrides()["truth"], *given]).trainer)


def _run_variants(bench: Bench, planner: Planner) -> list[Planned]:
    variants = [item for name, part in bench.cfg.parts.items() for item in plan_part(str(name), part, planner)]
    finished = set(bench.store.finished())
    for variant in variants:
        bench.expect(f"variants, {variant.stage}", variant.jobs, finished)
    bench.folder /= "variants"  # separates the logs of these jobs from those of the bench
    bench.folder.mkdir()
    for stage in ("score", "truth"):
        jobs = [job for variant in variants if variant.stage == stage for job in variant.jobs]
        if jobs:
            bench.stage(stage, jobs, bench.overrides()[stage], finished, f"variants, {stage}")
    return variants


def plan_part(name: str, part: DictConfig, planner: Planner) -> list[Planned]:
    """Plan the jobs of each variant of a part.

    Its config has `metrics` and `score`, or `target`, `seeds` and `truth`; each variant is a list of overrides. With
    `metrics` and `race`, there are none.
    """
    planned = []
    for variant, given in part.get("score", {}).items():
        overrides = (_metrics(part), f"variant={name}/{variant}", *given)
        planned.append(Planned(name, str(variant), "score", overrides, planner.score(overrides)))
    for variant, given in part.get("truth", {}).items():
        overrides = (f"variant={name}/{variant}", *given)
        jobs = planner.tuned(part.target, part.seeds, overrides)
        planned.append(Planned(name, str(variant), "truth", overrides, jobs))
    return planned


def _metrics(part: DictConfig) -> str:
    return f"metric=[{','.join(part.metrics)}]"


def _report(bench: Bench, plan: Mapping[str, Sequence[Job]], variants: Sequence[Planned]) -> None:
    from analysis.sensitivity.report import report

    cfg, keys = bench.cfg, keys_of(plan)
    jobs = sorted(key for variant in variants for job in variant.jobs for key in job.keys)
    bench_jobs = {stage: sorted(own) for stage, own in keys.items()}
    races = {str(name): resolved(part) for name, part in cfg.parts.items() if "race" in part}
    settings = {"resamples": cfg.resamples, "seed": cfg.seed, "bench": bench_jobs, "races": races}
    key = job_key("variant", "analysis.sensitivity.report", {"jobs": jobs, "settings": settings})
    folder = Path(cfg.output_dir) / "sensitivity" / str(cfg.suite.name)
    findings = _findings(bench, keys, variants)
    report(findings, bench.store, key=key, suite=cfg.suite.name, config=resolved(cfg), folder=folder)


def _findings(bench: Bench, keys: Mapping[str, Sequence[str]], variants: Sequence[Planned]) -> "Findings":
    from analysis.sensitivity.report import Findings
    from analysis.sensitivity.variants import Variant, VariantDraws, compare_scores, compare_truths
    from analysis.truth.pools import main_tune, pools

    cfg, overrides = bench.cfg, bench.overrides()["score"]
    stored = {stage: bench.store.finished(stage) for stage in keys}
    rows = {stage: [stored[stage][key] for key in own] for stage, own in keys.items()}
    truth, sources = truth_frame(rows["truth"]), source_frame(rows["pretrain"])
    truth = truth[truth["tune"] == main_tune(pools(truth))]
    default = _scores(rows["score"], overrides)
    draws = VariantDraws(cfg.resamples, cfg.seed, {str(name): str(scan) for name, scan in cfg.suite.targets.items()})
    scores: list[Variant] = []
    truths: dict[str, dict[str, pd.DataFrame]] = {}
    for plan in variants:
        own = [stored[plan.stage][key] for job in plan.jobs for key in job.keys]
        if plan.stage == "truth":
            truths.setdefault(plan.part, {})[plan.name] = truth_frame(own)
        else:
            scores.append(Variant(plan.part, plan.name, _scores(own, [*overrides, *plan.overrides]), _forwarded(own)))
    scored = compare_scores(truth, sources, default, scores, draws=draws) if scores else pd.DataFrame()
    tuned = {}
    for part, frames in truths.items():
        chosen = default[default["metric"].isin(list(cfg.parts[part].metrics))]
        tuned[part] = compare_truths(frames, sources, chosen, draws=draws)
    asks = {str(name): str(part.asks) for name, part in cfg.parts.items()}
    return Findings(asks, scored, tuned, _races(bench, rows["truth"], default))


def _races(bench: Bench, rows: Sequence[Row], scores: pd.DataFrame) -> "dict[str, RaceReplay]":
    """Part of races -> what they cost and lose."""
    from analysis.sensitivity.races import RaceSettings, compare_races
    from analysis.truth.load import stored_dice
    from analysis.truth.pools import main_tune, pools

    parts = {str(name): part for name, part in bench.cfg.parts.items() if "race" in part}
    if not parts:
        return {}
    every = pools(truth_frame(rows))
    main = [pool for pool in every if pool.tune == main_tune(every)]
    rungs, validation = rung_frame(rows), stored_dice(bench.store, rows).validation
    return {
        name: compare_races(
            main, scores, rungs, validation, settings=RaceSettings(metrics=list(part.metrics), **resolved(part.race))
        )
        for name, part in parts.items()
    }


def _scores(rows: Sequence[Row], overrides: Sequence[str]) -> pd.DataFrame:
    metrics = composed("score", overrides).metric
    return score_frame(rows, {str(name): instantiate(node) for name, node in metrics.items()})


def _forwarded(rows: Sequence[Row]) -> float:
    """Share of the windows that were forwarded; NaN if every pair was skipped."""
    forwarded, total = (sum(row.metrics.get(f"windows/{name}", 0.0) for row in rows) for name in ("forwarded", "all"))
    return forwarded / total if total else math.nan


main = entry_point("sensitivity", run, limited=False)

if __name__ == "__main__":
    main()
