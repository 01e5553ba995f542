"""Evaluations and qualities as flat rows for tables, CSV and the tracking store."""

from collections.abc import Mapping

import numpy as np

from analysis.agreement.intervals import (
    LEVEL,
    Interval,
    bca_interval,
    family_interval,
    fisher_interval,
    percentile_interval,
    permutation_p,
)
from analysis.agreement.measure_table import FEWEST, MEASURES, PEARSON, PRIMARY, WEIGHTED_KENDALL, Measure
from analysis.evaluation.evaluate import Evaluation
from analysis.truth.quality import Quality

Row = dict[str, str | float]
UNKNOWN = Interval(float("nan"), float("nan"), "nothing is known of it")


def agreement_row(evaluation: Evaluation, ceiling: Mapping[str, float], *, subset: str, kind: str) -> Row:
    """One row of the table of agreement; `scope` says whether it is a target or a mean, whose `target` is empty.

    For each measure M: M, M_low, M_high; for primary measures also M_p (one-sided, by permutation), M_ceiling and
    M_share (of the ceiling; NaN if that is 0 or unknown), M_chance and M_chance_high (the mean and the 95% point of the
    permutations) and the intervals over families, test cases and fine-tuning seeds: M_families_low, M_families_high,
    and so on. score_ties and dice_ties are the shares of tied pairs of sources, within_noise the share of first choices
    within the seeds' noise of the best, interval_reason why weighted Kendall has no interval.
    """
    row: Row = {
        "subset": subset,
        "scope": evaluation.scope,
        "target": evaluation.target,
        "tune": evaluation.tune,
        "metric": evaluation.metric,
        "kind": kind,
        "targets": evaluation.targets,
        "sources": evaluation.sources,
        "counted": evaluation.counted,
    }
    for measure in MEASURES:
        row |= measured(evaluation, measure)
    for measure in PRIMARY:
        value, top = evaluation.agreement.value[measure.name], ceiling.get(measure.name, float("nan"))
        null = evaluation.agreement.null[measure.name]
        row[f"{measure.name}_p"] = permutation_p(value, null)
        row[f"{measure.name}_ceiling"] = top
        row[f"{measure.name}_share"] = value / top if top > 0 else float("nan")
        row[f"{measure.name}_chance"] = float(null.mean())
        row[f"{measure.name}_chance_high"] = float(np.quantile(null, LEVEL))
    row |= _of_families(evaluation) | _redrawn(evaluation)
    row |= {"score_ties": evaluation.score_ties, "dice_ties": evaluation.dice_ties}
    row |= {
        "within_noise": evaluation.within_noise,
        "interval_reason": interval_of(evaluation, WEIGHTED_KENDALL).reason,
    }
    return row | {"seconds": evaluation.seconds, "reason": evaluation.reason}


def reliability_row(truth: Quality, *, subset: str) -> Row:
    """One row of the table of reliability.

    For each primary measure M: M, M_low, M_high and M_ceiling contain the noise that the column `noise` names;
    M_over_seeds, M_over_seeds_low and M_over_seeds_high that of the seeds only. Pools of fewer than 6 sources have no
    interval.
    """
    row: Row = {
        "subset": subset,
        "scope": truth.scope,
        "target": truth.target,
        "tune": truth.tune,
        "targets": truth.targets,
        "sources": truth.sources,
        "seeds": truth.seeds,
        "spread": truth.spread,
        "seed_sd": truth.seed_sd,
        "best_minus_median": truth.best_minus_median,
        "by_noise": truth.by_noise,
        "noise": truth.noise,
    }
    for measure in PRIMARY:
        for name, reliability in ((measure.name, truth.reliability), (f"{measure.name}_over_seeds", truth.over_seeds)):
            interval = percentile_interval(reliability.resampled[measure.name])
            if truth.sources < FEWEST:
                interval = UNKNOWN
            row |= {name: reliability.value[measure.name], f"{name}_low": interval.low, f"{name}_high": interval.high}
        row[f"{measure.name}_ceiling"] = truth.ceiling[measure.name]
    return row | {"reason": truth.reason}


def measured(evaluation: Evaluation, measure: Measure) -> dict[str, float]:
    """One measure with its interval: the columns M, M_low and M_high."""
    name, interval = measure.name, interval_of(evaluation, measure)
    return {name: evaluation.agreement.value[name], f"{name}_low": interval.low, f"{name}_high": interval.high}


def interval_of(evaluation: Evaluation, measure: Measure) -> Interval:
    """The 95% interval over sources.

    Fisher's z for Pearson on one target, BCa for its mean over targets, percentiles for all other measures, expanded
    for the measures that need it.
    """
    value, resampled = evaluation.agreement.value[measure.name], evaluation.agreement.resampled.get(measure.name)
    if resampled is None:
        return UNKNOWN
    if measure is not PEARSON:
        return measure.interval(resampled, evaluation.counted, fewest=evaluation.fewest)
    if not evaluation.averaged:
        return fisher_interval(value, int(evaluation.counted))
    return bca_interval(value, resampled, evaluation.agreement.jackknife[measure.name])


def _of_families(evaluation: Evaluation) -> dict[str, float]:
    """M_families_low and M_families_high for the primary measures; NaN if there is one family."""
    row: dict[str, float] = {}
    for measure in PRIMARY:
        drawn = evaluation.agreement.of_families.get(measure.name)
        over_sources = interval_of(evaluation, measure)
        interval = UNKNOWN if drawn is None else family_interval(over_sources, drawn, evaluation.families)
        row |= {f"{measure.name}_families_low": interval.low, f"{measure.name}_families_high": interval.high}
    return row


def _redrawn(evaluation: Evaluation) -> dict[str, float]:
    """M_cases_low, M_cases_high, M_seeds_low and M_seeds_high for the primary measures; NaN if unknown."""
    row: dict[str, float] = {}
    for kind in ("cases", "seeds"):
        drawn = evaluation.agreement.redrawn.get(kind, {})
        for measure in PRIMARY:
            interval = percentile_interval(drawn[measure.name]) if kind in evaluation.agreement.redrawn else UNKNOWN
            row |= {f"{measure.name}_{kind}_low": interval.low, f"{measure.name}_{kind}_high": interval.high}
    return row
