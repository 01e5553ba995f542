"""Audit how hard a truth is to predict, without any estimate; `python -m analysis.audit table=FILE.csv`.

If the same sources are good on every target, a fixed list of them (the static leaderboard,
`analysis.evaluation.controls`) ranks every new target well, and an estimate that does no better has shown nothing
(arXiv 2510.06448). The audit reports the agreement of that list, the variation of the sources' ranks between targets,
the spread of the sources, the share of pairs tied within a resolution of the Dice, and the influence of single targets
and sources.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from analysis.agreement.measure_table import PRIMARY, WEIGHTED_KENDALL
from analysis.agreement.rank_measures import FEWEST_SOURCES
from analysis.agreement.source_bootstrap import SourceDraws, draw
from analysis.evaluation.controls import static_leaderboard
from analysis.evaluation.evaluate import Evaluation, evaluate, mean_evaluation
from analysis.evaluation.prepared_truth import Yardstick
from analysis.evaluation.rows import measured
from analysis.evaluation.study import MEAN
from analysis.tables.audit import Audit, audit_tables
from analysis.tables.render import terminal
from analysis.truth.dispersion import dispersion, rank_table
from analysis.truth.pools import Pool, pools
from analysis.truth.truth_table import TruthTable, read_table
from benchmark.errors import InputError
from benchmark.jobs.cli import run_command
from benchmark.jobs.terminal import wide_console

TABLE_COLUMNS = ("source", "target", "dice")
BETTER_HALF = "better half"
RESOLUTION = 0.005  # half a Dice point, about the effect of another fine-tuning seed in large studies


def audit(
    table: pd.DataFrame,
    *,
    sources: Collection[str] | None = None,
    resolution: float = RESOLUTION,
    resamples: int = 2000,
    seed: int = 0,
) -> Audit:
    """Audit a table of truth.

    Args:
        table: Columns source, target, dice (a fraction), and optionally seed; the Dice of a pair is the mean over its
            seeds.
        sources: The sub-pool to audit; None for all sources.
        resolution: Two Dice this close count as tied.
        resamples: The number of bootstrap draws.
        seed: The seed of the draws.

    Returns:
        The audit.

    Raises:
        ValueError: A column is missing, a row occurs twice, a Dice is not a fraction, or there are fewer than 2
            targets.

    Example:
        >>> from analysis.published import published_truth
        >>> found = audit(published_truth("openmind_resenc_l"), resamples=50)
        >>> round(found.static["weighted_kendall"], 2)
        0.4
    """
    every = _pools(table, sources)
    if len(every) < 2:
        raise ValueError(f"`table` must contain at least 2 targets, got {len(every)}")
    draws = draw([name for pool in every for name in pool.sources], resamples=resamples, generator=_generator(seed))
    found = _static(every, draws)
    mean = mean_evaluation(found, name=MEAN)
    return Audit(
        static={key: value for measure in PRIMARY for key, value in measured(mean, measure).items()},
        reason=mean.reason,
        dispersion=dispersion(every),
        resolution=resolution,
        by_target=_by_target(every, found, resolution),
        by_source=_by_source(every),
    )


def _generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _pools(table: pd.DataFrame, sources: Collection[str] | None) -> tuple[Pool, ...]:
    if missing := [name for name in TABLE_COLUMNS if name not in table.columns]:
        raise ValueError(f"`table` must have the columns {', '.join(TABLE_COLUMNS)}, missing {', '.join(missing)}")
    truth = table.assign(tune="as given")
    every = pools(truth if "seed" in truth else truth.assign(seed=0))
    return every if sources is None else tuple(pool.only(sources) for pool in every)


def _static(every: Sequence[Pool], draws: SourceDraws) -> list[Evaluation]:
    """The agreement on each target of the static leaderboard over the other targets."""
    evaluations = []
    for pool in every:
        score = pd.Series(static_leaderboard(other for other in every if other is not pool), dtype=float)
        rows = score.rename("score").to_frame().assign(reason="", seconds=0.0)
        yardstick = Yardstick(pool.sources, pool.mean, draws, {})
        evaluations.append(evaluate(pool, rows, metric="static_leaderboard", yardstick=yardstick))
    return evaluations


def _by_target(every: Sequence[Pool], found: Sequence[Evaluation], resolution: float) -> pd.DataFrame:
    values = np.array([item.agreement.value[WEIGHTED_KENDALL.name] for item in found])
    others = (values.sum() - values) / (len(values) - 1)
    rows = []
    for pool, item, rest in zip(every, found, others, strict=True):
        upper = np.triu_indices(len(pool.sources), 1)
        gaps = np.abs(pool.mean[:, None] - pool.mean[None, :])[upper]
        facts = {"target": pool.target, "sources": len(pool.sources), "spread": pool.spread}
        facts |= {"tied": float((gaps <= resolution).mean()), "reason": item.reason}
        rows.append(facts | dict(item.agreement.value) | {"weighted_kendall_others": float(rest)})
    return pd.DataFrame(rows)


def _by_source(every: Sequence[Pool]) -> pd.DataFrame:
    """The ranks of each source, and the agreement of the static leaderboard without it."""
    ranks = rank_table(every)
    without = []
    for source in ranks["source"]:
        left = [pool.only(set(pool.sources) - {source}) for pool in every]
        once = draw([name for pool in left for name in pool.sources], resamples=1, generator=_generator(0))
        without.append(mean_evaluation(_static(left, once), name=MEAN).agreement.value[WEIGHTED_KENDALL.name])
    return ranks.assign(weighted_kendall_without=without)


def run(cfg: DictConfig) -> None:
    """Audit the table and its sub-pools, print the tables, and write audit.json."""
    table = read_table(cfg.table)
    settings = {"resolution": cfg.resolution, "resamples": cfg.resamples, "seed": cfg.seed}
    found = _audited(table, None, settings)
    sub_pools = {BETTER_HALF: _better_half(found)} | {
        str(name): tuple(names) for name, names in (cfg.sub_pools or {}).items()
    }
    parts = {name: _audited(table, names, settings, name) for name, names in sub_pools.items()}
    path = Path(cfg.output_dir) / "audit.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"table": table.name} | found.facts() | {"sub_pools": {name: part.facts() for name, part in parts.items()}}
    path.write_text(json.dumps(_without_nan(facts), indent=2) + "\n", encoding="utf-8")
    console = wide_console()
    for shown in audit_tables(found, parts, name=table.name):
        console.print(terminal(shown))
    if table.percent:
        console.print("The Dice of the table are in percent; they are shown as fractions.", highlight=False)
    console.print(f"written: {path}", highlight=False)


def _better_half(found: Audit) -> tuple[str, ...]:
    """The sources with the better mean rank, between which a user would choose."""
    ranked = found.by_source["source"]
    return tuple(map(str, ranked[: max(FEWEST_SOURCES, (len(ranked) + 1) // 2)]))


def _audited(table: TruthTable, sources: Sequence[str] | None, settings: Mapping[str, Any], name: str = "") -> Audit:
    unknown = sorted(set(sources or ()) - set(table.truth["source"]))
    if unknown:
        raise InputError(f"sub_pools.{name} must name sources of {table.name}, got {', '.join(unknown)}")
    if (targets := table.truth["target"].nunique()) < 2:
        raise InputError(f"{table.name} must contain at least 2 targets, got {targets}")
    return audit(table.truth.drop(columns="tune"), sources=sources, **settings)


def _without_nan(value: object) -> object:
    """Replace NaN by None at all levels, since JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def main() -> None:
    """Entry point."""
    run_command("audit", run)


if __name__ == "__main__":
    main()
