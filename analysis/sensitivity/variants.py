"""Variants beside the default: how well each agrees with the truth, and how much its ranking differs.

A variant is a set of scores made with other settings (sampling, layers, cases, precision), or a truth that was tuned
otherwise. Everything is measured as `correlate` measures it, with the same draws for the default and all variants. A
source without a score is left out, which the reason says: estimates that need source data have none for a source that
was trained on nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.agreement.rank_measures import kendall, why_undefined
from analysis.evaluation.correlate import TRUTH_COLUMNS, correlate
from analysis.evaluation.study import ALL, MEAN, Study
from analysis.truth.pools import Pool

DEFAULT = "default"
MEASURED = ("weighted_kendall", "kendall", "pearson")
NAN = float("nan")


@dataclass(frozen=True)
class Variant:
    """Scores of one part of a study, made with settings of their own.

    Attributes:
        part: The part that it belongs to, such as "windows".
        name: The variant's name, unique within its part.
        scores: Columns source, target, metric, score, reason, seconds.
        forwarded: Share of the windows that went through the networks, over all pairs.
    """

    part: str
    name: str
    scores: pd.DataFrame
    forwarded: float = 1.0


@dataclass(frozen=True)
class VariantDraws:
    """What every evaluation of a study shares.

    Attributes:
        resamples: How many bootstrap draws and permutations.
        seed: The seed of all draws.
        scans: Target -> the scan that its cases come from.
    """

    resamples: int = 1000
    seed: int = 0
    scans: Mapping[str, str] | None = None


def compare_scores(
    truth: pd.DataFrame,
    sources: pd.DataFrame,
    default: pd.DataFrame,
    variants: Sequence[Variant],
    *,
    draws: VariantDraws,
) -> pd.DataFrame:
    """The agreement of every variant beside that of the default.

    Args:
        truth: Columns source, target, seed, tune, dice.
        sources: As `correlate` takes them.
        default: Scores with the default settings, columns source, target, metric, score, reason, seconds.
        variants: The variants.
        draws: Resamples and seed.

    Returns:
        A row for each part, metric, variant (`default` first, where it has the metric) and target or mean: weighted
        Kendall, Kendall and Pearson, each with its 95% interval; `same_ranking`, Kendall's tau between the variant's
        scores and the default's; `forwarded`; `seconds`; `reason`.
    """
    parts = dict.fromkeys(one.part for one in variants)
    lines = [
        line
        for part in parts
        for line in _part(truth, sources, default, [one for one in variants if one.part == part], draws)
    ]
    return pd.DataFrame(lines)


def _part(
    truth: pd.DataFrame, sources: pd.DataFrame, default: pd.DataFrame, own: Sequence[Variant], draws: VariantDraws
) -> list[dict[str, Any]]:
    """The rows of the variants of one part, metric by metric, the default first."""
    metrics = dict.fromkeys(metric for one in own for metric in _metrics(one.scores))
    named = {
        (metric, one.name): one.scores[one.scores["metric"] == metric]
        for metric in metrics
        for one in (Variant(own[0].part, DEFAULT, default), *own)
        if metric in _metrics(one.scores)
    }
    study = _evaluate(truth, sources, {"/".join(key): rows for key, rows in named.items()}, draws)
    forwarded = {one.name: one.forwarded for one in own}
    lines = []
    for (metric, name), scores in named.items():
        same = _same_rankings(study.pools, scores, named.get((metric, DEFAULT)))
        head = {"part": own[0].part, "metric": metric, "variant": name, "forwarded": forwarded.get(name, 1.0)}
        found = _rows(study, f"{metric}/{name}")
        lines += [head | _measured(row) | {"same_ranking": same.get(row["target"], NAN)} for row in found]
    return lines


def compare_truths(
    truths: Mapping[str, pd.DataFrame], sources: pd.DataFrame, scores: pd.DataFrame, *, draws: VariantDraws
) -> pd.DataFrame:
    """The agreement of the same scores with the truth of one target, tuned in several ways.

    Args:
        truths: Variant -> columns source, target, seed, tune, dice, of one target and one choice of what is tuned; the
            first is the default.
        sources: As `correlate` takes them.
        scores: Scores with the default settings.
        draws: Resamples and seed.

    Returns:
        A row for each variant and metric: the measures as in `compare_scores`; `reliability` and `spread` of that
        truth; `same_ranking`, Kendall's tau between its mean Dice and the default's.
    """
    lines: list[dict[str, Any]] = []
    first: Pool | None = None
    for name, truth in truths.items():
        here = scores[scores["target"].isin(set(truth["target"]))]
        study = _evaluate(truth, sources, {metric: here[here["metric"] == metric] for metric in _metrics(here)}, draws)
        [pool] = study.pools
        first = first or pool
        facts = {
            "reliability": float(study.reliability_of(pool.target)["kendall"]),
            "spread": pool.spread,
            "same_ranking": _tau(_dice(pool), _dice(first)),
        }
        for metric in _metrics(here):
            found = [row for row in _rows(study, metric) if row["target"] == pool.target]
            lines += [{"variant": name, "metric": metric} | _measured(row) | facts for row in found]
    return pd.DataFrame(lines)


def _evaluate(
    truth: pd.DataFrame, sources: pd.DataFrame, named: Mapping[str, pd.DataFrame], draws: VariantDraws
) -> Study:
    scores = pd.concat([rows.assign(metric=name) for name, rows in named.items()], ignore_index=True)
    return correlate(
        truth[list(TRUTH_COLUMNS)],
        scores,
        sources,
        resamples=draws.resamples,
        seed=draws.seed,
        scans=draws.scans,
        missing="leave_out",
    )


def _metrics(scores: pd.DataFrame) -> list[str]:
    return [str(name) for name in dict.fromkeys(scores["metric"])]


def _rows(study: Study, metric: str) -> list[dict[str, Any]]:
    rows = study.agreement
    chosen = rows[(rows["metric"] == metric) & (rows["subset"] == ALL) & (rows["tune"] == study.tune)]
    return [{str(key): value for key, value in row.items()} for row in chosen.to_dict("records")]


def _measured(row: Mapping[str, Any]) -> dict[str, Any]:
    names = [f"{measure}{end}" for measure in MEASURED for end in ("", "_low", "_high")]
    return {name: row[name] for name in ("target", "sources", "counted", *names, "seconds", "reason")}


def _same_rankings(pools: Sequence[Pool], scores: pd.DataFrame, base: pd.DataFrame | None) -> dict[str, float]:
    """Target, or mean -> Kendall's tau between two sets of scores of one metric; a mean needs every target."""
    if base is None:
        return {}
    found = {pool.target: _tau(_by_source(scores, pool), _by_source(base, pool)) for pool in pools}
    return found | {MEAN: float(np.mean(list(found.values())))}


def _by_source(scores: pd.DataFrame, pool: Pool) -> dict[str, float]:
    own = scores[(scores["target"] == pool.target) & scores["source"].isin(pool.sources)]
    values = {str(name): float(value) for name, value in zip(own["source"], own["score"], strict=True)}
    return {name: value for name, value in values.items() if np.isfinite(value)}


def _dice(pool: Pool) -> dict[str, float]:
    return dict(zip(pool.sources, map(float, pool.mean), strict=True))


def _tau(one: Mapping[str, float], two: Mapping[str, float]) -> float:
    """Kendall's tau over the sources that both have; NaN where it says nothing."""
    both = sorted(set(one) & set(two))
    pair = [one[name] for name in both], [two[name] for name in both]
    return NAN if why_undefined(*pair) else kendall(*pair)
