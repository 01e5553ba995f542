"""The verdict of a study in plain words: whether a metric beats the static leaderboard, and how close to the ceiling.

A difference counts if its 95% interval over sources excludes 0; otherwise the text says that it may be chance.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from analysis.evaluation.study import Study

STATIC = "static_leaderboard"
MEASURE = "weighted_kendall"
AT_CEILING = 0.95  # from this share of the ceiling on, a metric does as well as a perfect predictor
Row = Mapping[Any, Any]
Rows = Mapping[str, Row]
Answer = Literal["yes", "ahead", "behind", "no", "undefined"]


@dataclass(frozen=True)
class Verdict:
    """The verdict on one metric.

    Attributes:
        metric: The metric that is judged.
        beat_static: "yes": better than the static leaderboard, and the interval excludes 0; "ahead" and "behind": the
            interval contains 0; "no": worse, and the interval excludes 0; "undefined".
        value: Its weighted Kendall, mean over targets.
        share: The value as a share of the ceiling; NaN if the ceiling is 0 or unknown.
        best: The estimate with the highest weighted Kendall; "" if all are undefined.
        sentences: Two sentences: on the metric, and on the study.
        findings: Metric or control -> its result in words, metrics first.
    """

    metric: str
    beat_static: Answer
    value: float
    share: float
    best: str
    sentences: tuple[str, str]
    findings: dict[str, str]

    @property
    def text(self) -> str:
        """Both sentences."""
        return " ".join(self.sentences)


def verdict(study: Study, *, metric: str = "ccfv") -> Verdict:
    """Write the verdict of a study on one metric.

    Args:
        study: The result of `correlate`.
        metric: The metric.

    Returns:
        The verdict.
    """
    table = study.agreement_of()
    rows: Rows = dict(zip(map(str, table.index), table.to_dict("records"), strict=True))
    scored = metric in rows
    value = float(rows[metric][MEASURE]) if scored else float("nan")
    estimates = [name for name, row in rows.items() if row["kind"] == "metric" and np.isfinite(row[MEASURE])]
    best = estimates[0] if estimates else ""
    return Verdict(
        metric=metric,
        beat_static=_answer(study, metric) if scored else "undefined",
        value=value,
        share=float(rows[metric][f"{MEASURE}_share"]) if scored else float("nan"),
        best=best,
        sentences=(_on_metric(study, rows, metric), _on_study(study, rows, metric, best)),
        findings={name: _finding(study, name, row) for name, row in rows.items()},
    )


def _answer(study: Study, metric: str) -> Answer:
    if metric == STATIC or STATIC not in study.agreement_of().index:
        return "undefined"
    row = study.comparison(metric, STATIC, measure=MEASURE)
    difference, low, high = (float(row[name]) for name in ("difference", "low", "high"))
    if np.isnan([difference, low, high]).any():
        return "undefined"
    if low > 0 or high < 0:
        return "yes" if low > 0 else "no"
    return "ahead" if difference > 0 else "behind"


def _on_metric(study: Study, rows: Rows, metric: str) -> str:
    name = _readable(metric)
    if metric not in rows:
        return f"{name} was not scored in this study."
    if np.isnan(rows[metric][MEASURE]):
        return f"The agreement of {name} is undefined ({rows[metric]['reason']})."
    words = {
        "yes": "beat the static leaderboard",
        "ahead": "scored above the static leaderboard, but the difference may be chance",
        "behind": "did not beat the static leaderboard",
        "no": "did not beat the static leaderboard but did worse",
        "undefined": "could not be compared with the static leaderboard",
    }
    answer = _answer(study, metric)
    value = _interval(rows[metric], MEASURE)
    text = f"{name} {words[answer]}: weighted Kendall {value} ({_of_ceiling(rows[metric])})"
    if answer != "undefined":
        row = study.comparison(metric, STATIC, measure=MEASURE)
        text += (
            f" against {rows[STATIC][MEASURE]:.2f}, a difference of {row['difference']:.2f} "
            f"[{row['low']:.2f}, {row['high']:.2f}]; it is ahead in {100 * row['probability']:.0f}% of the resamples"
        )
    return f"{text}."


def _on_study(study: Study, rows: Rows, metric: str, best: str) -> str:
    truth = dict(study.reliability_of())
    reliability = _interval(truth, "kendall")
    known = (
        f"a truth of split-half reliability {reliability}"
        if np.isfinite(truth["kendall"])
        else "a truth whose reliability is unknown"
    )
    size = f"{len(study.pools)} target{'s' if len(study.pools) > 1 else ''} with {truth['sources']:.3g} sources each"
    if not best:
        return f"No estimate has a defined agreement over {size}, against {known}."
    if best == metric:
        return f"It was the best estimate here, over {size} and against {known}."
    where = {
        "yes": "beat the static leaderboard",
        "ahead": "scored above the static leaderboard, but the difference may be chance",
        "behind": "did not beat the static leaderboard",
        "no": "did worse than the static leaderboard",
        "undefined": "could not be compared with the static leaderboard",
    }[_answer(study, best)]
    return (
        f"The best estimate here was {_readable(best)}, weighted Kendall {_interval(rows[best], MEASURE)}, which "
        f"{where}. Results are over {size} and against {known}."
    )


def _of_ceiling(row: Row) -> str:
    ceiling, share = float(row[f"{MEASURE}_ceiling"]), float(row[f"{MEASURE}_share"])
    if np.isnan(ceiling):
        return "the ceiling is unknown: the truth has a single seed or too few sources"
    if np.isnan(share):
        return "the ceiling is 0: the truth is noise"
    return f"{round(100 * share)}% of the ceiling of {ceiling:.2f}"


def _finding(study: Study, name: str, row: Row) -> str:
    """The result of one metric or control in words."""
    if np.isnan(row[MEASURE]):
        by_target = study.agreement_targets(name)
        reasons = "; ".join(dict.fromkeys(str(reason) for reason in by_target["reason"] if reason))
        return f"{row['reason']}: {reasons}" if reasons else str(row["reason"])
    low, high = float(row[f"{MEASURE}_low"]), float(row[f"{MEASURE}_high"])
    if low > 0:
        words = "agrees with the truth"
    else:
        words = "ranks the sources in reverse" if high < 0 else "cannot be distinguished from chance"
    share = float(row[f"{MEASURE}_share"])
    perfect = (
        f", as well as a perfect predictor would ({100 * share:.0f}% of the ceiling)" if share >= AT_CEILING else ""
    )
    gaps = f"; {row['reason']}" if row["reason"] else ""
    return f"{words}{perfect}: {_interval(row, MEASURE)}{gaps}"


def _interval(row: Row, name: str) -> str:
    low, high = float(row[f"{name}_low"]), float(row[f"{name}_high"])
    return f"{float(row[name]):.2f}" + ("" if np.isnan([low, high]).any() else f" [{low:.2f}, {high:.2f}]")


def _readable(metric: str) -> str:
    return {"ccfv": "CC-FV", STATIC: "the static leaderboard"}.get(metric, metric)
