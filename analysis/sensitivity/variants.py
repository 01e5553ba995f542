"""Compare variants with the default: their agreement with the truth, and how much their ranking differs.

A variant is a set of scores made with other settings (sampling, layers, cases, precision), or a truth with another
choice of what is tuned. Variants are measured as in `correlate`, with the same draws for the default and all variants.
A source without a score is left out and named in the reason: estimates that need source data have no score for sources
from scratch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd

from analysis.agreement.rank_measures import kendall, why_undefined
from analysis.evaluation.correlate import TRUTH_COLUMNS, correlate
from analysis.evaluation.rows import Row
from analysis.evaluation.study import ALL, Study
from analysis.truth.pools import Pool, Scope

DEFAULT = "default"
MEASURED = ("weighted_kendall", "kendall", "pearson")
NAN = float("nan")


@dataclass(frozen=True)
class Variant:
    """Scores made with other settings than the default.

    Attributes:
        part: The part of the comparison that it belongs to, such as "windows".
        name: The variant's name, unique within its part.
        scores: Columns source, target, metric, score, reason, seconds.
        forwarded: The share of windows that were forwarded, over all pairs.
    """

    part: str
    name: str
    scores: pd.DataFrame
    forwarded: float = 1.0


@dataclass(frozen=True)
class VariantDraws:
    """Options shared by all evaluations.

    Attributes:
        resamples: The number of bootstrap draws and permutations.
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
    """Compare the agreement of every variant with that of the default.

    Args:
        truth: Columns source, target, seed, tune, dice.
        sources: The frame of the sources, as for `correlate`.
        default: Scores with the default settings, columns source, target, metric, score, reason, seconds.
        variants: The variants.
        draws: Resamples and seed.

    Returns:
        One row per part, metric, variant (`default` first, if it has the metric) and target or mean (see
        `Scope`): weighted Kendall, Kendall and Pearson, each with its 95% interval; `same_ranking`, Kendall's tau
        between the variant's scores and the default's; `forwarded`; `seconds`; `reason`.
    """
    parts = dict.fromkeys(variant.part for variant in variants)
    lines = [
        line
        for part in parts
        for line in _part(truth, sources, default, [variant for variant in variants if variant.part == part], draws)
    ]
    return pd.DataFrame(lines)


def _part(
    truth: pd.DataFrame, sources: pd.DataFrame, default: pd.DataFrame, own: Sequence[Variant], draws: VariantDraws
) -> list[Row]:
    """The rows of the variants of one part, metric by metric, the default first."""
    metrics = dict.fromkeys(metric for variant in own for metric in _metrics(variant.scores))
    named = {
        (metric, variant.name): variant.scores[variant.scores["metric"] == metric]
        for metric in metrics
        for variant in (Variant(own[0].part, DEFAULT, default), *own)
        if metric in _metrics(variant.scores)
    }
    study = _evaluate(truth, sources, {"/".join(key): rows for key, rows in named.items()}, draws)
    forwarded = {variant.name: variant.forwarded for variant in own}
    lines = []
    for (metric, name), scores in named.items():
        same = _same_rankings(study.pools, scores, named.get((metric, DEFAULT)))
        head: Row = {"part": own[0].part, "metric": metric, "variant": name, "forwarded": forwarded.get(name, 1.0)}
        measured = _measured(study, f"{metric}/{name}")
        lines += [
            head | row | {"same_ranking": same.get((str(row["scope"]), str(row["target"])), NAN)} for row in measured
        ]
    return lines


def compare_truths(
    truths: Mapping[str, pd.DataFrame], sources: pd.DataFrame, scores: pd.DataFrame, *, draws: VariantDraws
) -> pd.DataFrame:
    """Compare the agreement of the same scores with several truths of one target, each with another part tuned.

    Args:
        truths: Variant -> columns source, target, seed, tune, dice, for one target and one choice of what is tuned; the
            first is the default.
        sources: The frame of the sources, as for `correlate`.
        scores: Scores with the default settings.
        draws: Resamples and seed.

    Returns:
        One row per variant and metric: the measures as in `compare_scores`; `reliability` and `spread` of the truth;
        `same_ranking`, Kendall's tau between its mean Dice and the default's.
    """
    lines: list[Row] = []
    first: Pool | None = None
    for name, truth in truths.items():
        here = scores[scores["target"].isin(set(truth["target"]))]
        study = _evaluate(truth, sources, {metric: here[here["metric"] == metric] for metric in _metrics(here)}, draws)
        [pool] = study.pools
        first = first or pool
        facts: Row = {
            "reliability": float(study.reliability_of(pool.target)["kendall"]),
            "spread": pool.spread,
            "same_ranking": _tau(_dice(pool), _dice(first)),
        }
        for metric in _metrics(here):
            measured = [row for row in _measured(study, metric) if row["target"] == pool.target]
            lines += [{"variant": name, "metric": metric} | row | facts for row in measured]
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


def _measured(study: Study, metric: str) -> list[Row]:
    """The rows of a metric on each target and mean in the main study, with the measures that are compared."""
    rows = study.agreement
    chosen = (rows["metric"] == metric) & (rows["subset"] == ALL) & (rows["tune"] == study.tune)
    columns = ["scope", "target", "sources", "counted"]
    columns += [f"{measure}{end}" for measure in MEASURED for end in ("", "_low", "_high")]
    return cast("list[Row]", rows.loc[chosen, [*columns, "seconds", "reason"]].to_dict("records"))


def _same_rankings(
    pools: Sequence[Pool], scores: pd.DataFrame, base: pd.DataFrame | None
) -> dict[tuple[str, str], float]:
    """Scope and target -> Kendall's tau between two sets of scores of one metric; a mean needs every target."""
    if base is None:
        return {}
    taus: dict[tuple[str, str], float] = {
        (Scope.TARGET, pool.target): _tau(_by_source(scores, pool), _by_source(base, pool)) for pool in pools
    }
    return taus | {(Scope.MEAN, ""): float(np.mean(list(taus.values())))}


def _by_source(scores: pd.DataFrame, pool: Pool) -> "pd.Series[float]":
    rows = scores[(scores["target"] == pool.target) & scores["source"].isin(pool.sources)]
    defined = rows[np.isfinite(rows["score"])]
    return pd.Series(defined["score"].to_numpy(dtype=float), index=defined["source"])


def _dice(pool: Pool) -> "pd.Series[float]":
    return pd.Series(pool.mean, index=list(pool.sources))


def _tau(first: "pd.Series[float]", second: "pd.Series[float]") -> float:
    """Kendall's tau over the sources that both have; NaN if undefined."""
    both = first.index.intersection(second.index)
    pair = first[both].to_numpy(dtype=float), second[both].to_numpy(dtype=float)
    return NAN if why_undefined(*pair) else kendall(*pair)
