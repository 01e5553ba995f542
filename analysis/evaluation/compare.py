"""Paired comparison of two metrics on the same sources.

Both metrics are measured on the same resamples of the sources, so effects that a draw has on both cancel in their
difference: two metrics may differ although their intervals overlap. Every metric and control is compared with CC-FV and
with the static leaderboard (`analysis.evaluation.controls`), on a single target with what the architecture alone tells.

The p-value is two-sided and uses the same resamples: twice the share of draws on the other side of 0, where a draw
without a difference counts half and the pool itself counts as one draw. Holm's correction and the max-T correction
(`analysis.agreement.best_of_many`) cover all metrics that are compared with the same other metric.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.agreement.best_of_many import max_t_p
from analysis.agreement.corrections import holm
from analysis.agreement.measure_table import PRIMARY, Measure
from analysis.evaluation.evaluate import Evaluation

Array = NDArray[np.float64]
Row = dict[str, str | float]
OTHERS = ("ccfv", "static_leaderboard", "architecture")


def compare(first: Evaluation, second: Evaluation, *, measure: Measure) -> Row:
    """The difference of two metrics on one target, or on the mean over the same targets.

    Args:
        first: The evaluation of one metric.
        second: The evaluation of the other metric, from the same draws.
        measure: The measure of agreement.

    Returns:
        metric, other, measure, scope, target, tune, difference (first minus second), low, high (95%), probability
        (share of draws in which the first agrees better), p, reason; NaN with the reason if either metric is undefined.
    """
    name = measure.name
    row: Row = {
        "metric": first.metric,
        "other": second.metric,
        "measure": name,
        "scope": first.scope,
        "target": first.target,
        "tune": first.tune,
    }
    difference = first.agreement.value[name] - second.agreement.value[name]
    paired = first.agreement.resampled[name] - second.agreement.resampled[name]
    draws = paired[np.isfinite(paired)]
    if not np.isfinite(difference) or not draws.size:
        undefined = [item.metric for item in (first, second) if not np.isfinite(item.agreement.value[name])]
        reason = f"{' and '.join(undefined)} undefined" if undefined else "undefined in every resample"
        blank = dict.fromkeys(("difference", "low", "high", "probability", "p"), float("nan"))
        return row | blank | {"reason": reason}
    fewest = min(first.fewest, second.fewest)
    interval = measure.interval(paired, min(first.counted, second.counted), fewest=fewest)
    ahead = float((draws > 0).mean() + (draws == 0).mean() / 2)
    row |= {"difference": difference, "low": interval.low, "high": interval.high, "probability": ahead}
    return row | {"p": _p(draws), "reason": interval.reason}


def comparisons(evaluations: Mapping[str, Sequence[Evaluation]], *, subset: str, kinds: Mapping[str, str]) -> list[Row]:
    """Compare every metric and control with those of `OTHERS` that there are, on every target and mean.

    Args:
        evaluations: Metric -> its evaluations, with the same targets in the same order for every metric.
        subset: The name of the sub-pool.
        kinds: Metric -> its kind, see `analysis.evaluation.kinds`.

    Returns:
        The rows of `compare` with subset, kind, p_holm and p_max (corrected over the metrics, without short fine-tuning
        and the controls).
    """
    rows: list[Row] = []
    for other in (name for name in OTHERS if name in evaluations):
        for measure in PRIMARY:
            for place in range(len(evaluations[other])):
                names = [name for name in evaluations if name != other]
                here = [compare(evaluations[name][place], evaluations[other][place], measure=measure) for name in names]
                metrics = [kinds[name] == "metric" for name in names]
                adjusted = holm(np.where(metrics, [float(row["p"]) for row in here], np.nan))
                difference = np.where(metrics, [float(row["difference"]) for row in here], np.nan)
                against = evaluations[other][place].agreement.resampled[measure.name]
                paired = [evaluations[name][place].agreement.resampled[measure.name] - against for name in names]
                p_max = max_t_p(difference, np.array(paired) - difference[:, None], two_sided=True)
                rows += [
                    {"subset": subset, "kind": kinds[name]} | row | {"p_holm": float(p), "p_max": float(p_of_many)}
                    for name, row, p, p_of_many in zip(names, here, adjusted, p_max, strict=True)
                ]
    return rows


def _p(draws: Array) -> float:
    below = (draws < 0).sum() + (draws == 0).sum() / 2
    return float(min(1.0, 2 * (min(below, draws.size - below) + 1) / (draws.size + 1)))
