"""A study as flat runs for MLflow's charts: one run per target and metric, one per source and target."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from analysis.evaluation.study import ALL, MEAN, MEAN_BY_SCAN, Study
from analysis.truth.pools import Pool

# In the order in which MLflow's page of compared runs shows them.
SCALES = ("weighted_kendall", "kendall", "pearson", "spearman", "rel_1", "rel_3", "top1_regret", "ndcg")
QUALIFIED = ("_p", "_ceiling", "_share")
# Logged again below mean/ by runs of the mean over targets: MLflow draws a bar for each run that has the metric, so
# charts of these have one bar per metric of the study.
HEADLINES = ("weighted_kendall", "weighted_kendall_low", "weighted_kendall_high", "weighted_kendall_share",
             "top1_regret", "seconds")  # fmt: skip
MOST_PAIRS = 1000  # above this number MLflow's page cannot show charts of pairs, and logging them takes minutes


@dataclass(frozen=True)
class Flat:
    """A run to log; all runs of a stage have the same names of params and metrics.

    Attributes:
        name: A readable name.
        note: The description, in Markdown.
        targets: Its targets.
        params: Its params, such as metric and target.
        metrics: Its results.
        tags: Tags to filter by.
    """

    name: str
    note: str
    targets: tuple[str, ...]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str] = field(default_factory=dict)


def agreement_runs(study: Study) -> list[Flat]:
    """The agreement of each metric and control on each target and on the means.

    Args:
        study: The result of `correlate`.

    Returns:
        The runs, with the worst metric first, since MLflow's page shows the newest runs first.
    """
    rows = study.agreement[(study.agreement["subset"] == ALL) & (study.agreement["tune"] == study.tune)]
    ranked = study.agreement_of(MEAN)["weighted_kendall"].sort_values(na_position="first").index
    places = {metric: place for place, metric in enumerate(ranked)}
    targets = tuple(pool.target for pool in study.pools)
    ordered = sorted(rows.to_dict("records"), key=lambda row: places[row["metric"]])
    return [_agreement(row, targets) for row in ordered]


def pair_runs(study: Study) -> list[Flat]:
    """The truth of each source on each target, with every score of it.

    Args:
        study: The result of `correlate`.

    Returns:
        The runs; none if there are more than 1,000 pairs.
    """
    if sum(len(pool.sources) for pool in study.pools) > MOST_PAIRS:
        return []
    wide = study.scores.pivot(index=["source", "target"], columns="metric", values="score")
    scores = {key: dict(row) for key, row in wide.iterrows()}
    return [
        _pair(pool, place, scores.get((pool.sources[place], pool.target), {}))
        for pool in study.pools
        for place in range(len(pool.sources))
    ]


def _agreement(row: Mapping[Any, Any], targets: tuple[str, ...]) -> Flat:
    metric, target = str(row["metric"]), str(row["target"])
    names = [f"{scale}{end}" for scale in SCALES for end in ("", "_low", "_high")]
    values = {name: float(row[name]) for name in names}
    values |= {str(name): float(value) for name, value in row.items() if str(name).endswith(QUALIFIED)}
    values["seconds"] = 0.0 if math.isnan(row["seconds"]) else float(row["seconds"])
    values["targets"] = float(row["targets"])
    if target == MEAN:
        values |= {f"mean/{name}": values[name] for name in HEADLINES}
    undefined = math.isnan(values["weighted_kendall"]) or row["reason"]
    means = {MEAN: f"mean over {row['targets']} targets", MEAN_BY_SCAN: "mean over scans"}
    return Flat(
        name=f"{metric}, {means[target]}" if target in means else f"{metric} on {target}",
        note=_agreement_note(row, values),
        targets=targets if target in means else (target,),
        params={"metric": metric, "target": target, "tune": str(row["tune"]), "sources": f"{row['sources']:g}"},
        metrics=values,
        tags={"kind": str(row["kind"])} | ({f"reason/{metric}": str(row["reason"])} if undefined else {}),
    )


def _agreement_note(row: Mapping[Any, Any], values: Mapping[str, float]) -> str:
    low, high = values["weighted_kendall_low"], values["weighted_kendall_high"]
    return (
        f"Agreement of the {row['kind']} **{row['metric']}** with the Dice of {row['sources']:g} sources on "
        f"**{row['target']}** after fine-tuning (tuned: {row['tune']}).\n\n"
        f"Weighted Kendall **{values['weighted_kendall']:.2f}** [{low:.2f}, {high:.2f}], "
        f"{100 * values['weighted_kendall_share']:.0f}% of the ceiling {values['weighted_kendall_ceiling']:.2f}; "
        f"Kendall {values['kendall']:.2f}, Pearson {values['pearson']:.2f}. "
        f"Taking its first choice loses {100 * values['top1_regret']:.1f} Dice points."
        + (f"\n\n{row['reason']}" if row["reason"] else "")
    )


def _pair(pool: Pool, place: int, scores: Mapping[Any, float]) -> Flat:
    source, dice = pool.sources[place], pool.dice[place]
    spread = float(dice.std(ddof=1)) if len(dice) > 1 else math.nan
    return Flat(
        name=f"{source} on {pool.target}",
        note=f"Dice of the source **{source}** on the target **{pool.target}** after fine-tuning (tuned: {pool.tune}), "
        f"mean over {len(dice)} seeds: **{dice.mean():.3f}**, standard deviation {spread:.3f}; with every score.",
        targets=(pool.target,),
        params={"source": source, "target": pool.target, "tune": pool.tune},
        metrics={"dice": float(dice.mean()), "dice_sd": spread, "seeds": len(dice)}
        | {str(name): float(score) for name, score in scores.items()},
    )
