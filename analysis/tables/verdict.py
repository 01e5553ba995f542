"""The verdict of a study in plain words: whether a metric beats the static leaderboard, and how close to the ceiling.

A difference counts if its 95% interval over sources excludes 0; otherwise the text says that it may be chance.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.evaluation.study import Study
from analysis.tables.number_format import counted, with_interval
from analysis.tables.study_tables import PRIMARY, STATIC
from analysis.tables.tables import Row

AT_CEILING = 0.95  # from this share of the ceiling on, a metric does as well as a perfect predictor
Rows = Mapping[str, Row]
Answer = Literal["yes", "ahead", "behind", "no", "undefined"]
WORDS: dict[Answer, str] = {
    "yes": "beat the static leaderboard",
    "ahead": "scored above the static leaderboard, but the difference may be chance",
    "behind": "did not beat the static leaderboard",
    "no": "did worse than the static leaderboard",
    "undefined": "could not be compared with the static leaderboard",
}


@dataclass(frozen=True)
class Verdict:
    """The verdict on one metric.

    Attributes:
        sentences: Two sentences: on the metric, and on the study.
        findings: Metric or control -> its result in words, metrics first.
    """

    sentences: tuple[str, str]
    findings: dict[str, str]

    @property
    def text(self) -> str:
        """Both sentences."""
        return " ".join(self.sentences)


def verdict(study: Study, *, metric: str = "ccfv") -> Verdict:
    """Write the verdict of a study on one metric."""
    table = study.agreement_of()
    rows: Rows = dict(zip(map(str, table.index), table.to_dict("records"), strict=True))
    best = next((name for name, row in rows.items() if row["kind"] == "metric" and np.isfinite(row[PRIMARY])), "")
    return Verdict(
        sentences=(_on_metric(study, rows, metric), _on_study(study, rows, metric, best)),
        findings={name: _finding(study, name, row) for name, row in rows.items()},
    )


def _answer(study: Study, metric: str) -> Answer:
    """How a metric compares with the static leaderboard: "ahead" and "behind" if the interval contains 0."""
    if metric == STATIC or STATIC not in study.agreement_of().index:
        return "undefined"
    row = study.comparison(metric, STATIC, measure=PRIMARY)
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
    if np.isnan(rows[metric][PRIMARY]):
        return f"The agreement of {name} is undefined ({rows[metric]['reason']})."
    answer = _answer(study, metric)
    words = "did not beat the static leaderboard but did worse" if answer == "no" else WORDS[answer]
    text = f"{name} {words}: weighted Kendall {with_interval(rows[metric], PRIMARY)} ({_of_ceiling(rows[metric])})"
    if answer != "undefined":
        row = study.comparison(metric, STATIC, measure=PRIMARY)
        text += (
            f" against {rows[STATIC][PRIMARY]:.2f}, a difference of {row['difference']:.2f} "
            f"[{row['low']:.2f}, {row['high']:.2f}]; it is ahead in {100 * row['probability']:.0f}% of the resamples"
        )
    return f"{text}."


def _on_study(study: Study, rows: Rows, metric: str, best: str) -> str:
    truth = dict(study.reliability_of())
    known = "a truth whose reliability is unknown"
    if np.isfinite(truth["kendall"]):
        known = f"a truth of split-half reliability {with_interval(truth, 'kendall')}"
    size = f"{counted(len(study.pools), 'target')} with {truth['sources']:.3g} sources each"
    if not best:
        return f"No estimate has a defined agreement over {size}, against {known}."
    if best == metric:
        return f"It was the best estimate here, over {size} and against {known}."
    return (
        f"The best estimate here was {_readable(best)}, weighted Kendall {with_interval(rows[best], PRIMARY)}, which "
        f"{WORDS[_answer(study, best)]}. Results are over {size} and against {known}."
    )


def _of_ceiling(row: Row) -> str:
    ceiling, share = float(row[f"{PRIMARY}_ceiling"]), float(row[f"{PRIMARY}_share"])
    if np.isnan(ceiling):
        return "the ceiling is unknown: the truth has a single seed or too few sources"
    if np.isnan(share):
        return "the ceiling is 0: the truth is noise"
    return f"{round(100 * share)}% of the ceiling of {ceiling:.2f}"


def _finding(study: Study, name: str, row: Row) -> str:
    if np.isnan(row[PRIMARY]):
        by_target = study.agreement_targets(name)
        reasons = "; ".join(dict.fromkeys(str(reason) for reason in by_target["reason"] if reason))
        return f"{row['reason']}: {reasons}" if reasons else str(row["reason"])
    low, high = float(row[f"{PRIMARY}_low"]), float(row[f"{PRIMARY}_high"])
    if low > 0:
        words = "agrees with the truth"
    else:
        words = "ranks the sources in reverse" if high < 0 else "cannot be distinguished from chance"
    share = float(row[f"{PRIMARY}_share"])
    perfect = (
        f", as well as a perfect predictor would ({100 * share:.0f}% of the ceiling)" if share >= AT_CEILING else ""
    )
    gaps = f"; {row['reason']}" if row["reason"] else ""
    return f"{words}{perfect}: {with_interval(row, PRIMARY)}{gaps}"


def _readable(metric: str) -> str:
    return {"ccfv": "CC-FV", STATIC: "the static leaderboard"}.get(metric, metric)
