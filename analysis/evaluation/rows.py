"""Evaluations and qualities as flat rows for tables, CSV and the tracking store."""

from analysis.agreement.intervals import (
    Interval,
    bca_interval,
    fisher_interval,
    percentile_interval,
    permutation_p,
)
from analysis.agreement.measure_table import MEASURES, PEARSON, PRIMARY, Measure
from analysis.evaluation.evaluate import Evaluation
from analysis.truth.quality import Quality

Row = dict[str, str | float]
UNKNOWN = Interval(float("nan"), float("nan"), "nothing is known of it")


def agreement_row(evaluation: Evaluation, truth: Quality, *, subset: str, kind: str) -> Row:
    """One row of the table of agreement; `scope` says whether it is a target or a mean, whose `target` is empty.

    For each measure M: M, M_low, M_high; for primary measures also M_p (one-sided, by permutation), M_ceiling and
    M_share (of the ceiling; NaN if that is 0), and the intervals over test cases and fine-tuning seeds: M_cases_low,
    M_cases_high, M_seeds_low, M_seeds_high. score_ties and dice_ties are the shares of tied pairs of sources.
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
        value, top = evaluation.agreement.value[measure.name], truth.ceiling[measure.name]
        row[f"{measure.name}_p"] = permutation_p(value, evaluation.agreement.null[measure.name])
        row[f"{measure.name}_ceiling"] = top
        row[f"{measure.name}_share"] = value / top if top > 0 else float("nan")
    row |= _redrawn(evaluation) | {"score_ties": evaluation.score_ties, "dice_ties": evaluation.dice_ties}
    return row | {"seconds": evaluation.seconds, "reason": evaluation.reason}


def reliability_row(truth: Quality, *, subset: str) -> Row:
    """One row of the table of reliability, with M, M_low, M_high and M_ceiling for each primary measure M."""
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
    }
    for measure in PRIMARY:
        name, interval = measure.name, percentile_interval(truth.resampled[measure.name])
        row |= {name: truth.reliability[name], f"{name}_low": interval.low, f"{name}_high": interval.high}
        row[f"{name}_ceiling"] = truth.ceiling[name]
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
    value, resampled = evaluation.agreement.value[measure.name], evaluation.agreement.resampled[measure.name]
    if measure is not PEARSON:
        return measure.interval(resampled, evaluation.counted)
    if evaluation.targets == 1:
        return fisher_interval(value, int(evaluation.counted))
    return bca_interval(value, resampled, evaluation.agreement.jackknife[measure.name])


def _redrawn(evaluation: Evaluation) -> dict[str, float]:
    """M_cases_low, M_cases_high, M_seeds_low and M_seeds_high for the primary measures; NaN if unknown."""
    row: dict[str, float] = {}
    for kind in ("cases", "seeds"):
        drawn = evaluation.agreement.redrawn.get(kind, {})
        for measure in PRIMARY:
            interval = percentile_interval(drawn[measure.name]) if kind in evaluation.agreement.redrawn else UNKNOWN
            row |= {f"{measure.name}_{kind}_low": interval.low, f"{measure.name}_{kind}_high": interval.high}
    return row
