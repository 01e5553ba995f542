"""The verdict of a study in plain words: what agreement was shown, and whether it beats the controls.

The metric named beforehand is judged by its own interval and p-value. The best of many metrics is judged by values that
are corrected for having looked at all of them (`analysis.agreement.best_of_many`). Where the sources are of several
families, an agreement that does not hold within families is called what it is: telling families apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.evaluation.controls import HINDSIGHT
from analysis.evaluation.kinds import CONTROL, METRIC, STEPS_OF, shown_name
from analysis.evaluation.study import FINE_TUNING, WITHIN_FAMILIES, Study
from analysis.tables.number_format import counted, duration, number, p_text, with_interval
from analysis.tables.other_patient import other_patient_sentences
from analysis.tables.study_tables import PRIMARY, STATIC
from analysis.tables.tables import Row
from analysis.tables.truth_tables import one_seed_note
from analysis.truth.pools import families_of

LEVEL = 0.05
AT_CEILING = 0.95  # from this share of the ceiling on, a metric does as well as a perfect predictor
MOST_OF_IT = 0.5  # share of an agreement from which telling families apart makes most of it
ARCHITECTURE = "architecture"  # the control of a single target
SMALLEST_CHANCE = 0.02  # a chance level that a reader should know
Rows = Mapping[str, Row]
Answer = Literal["yes", "ahead", "behind", "no", "undefined"]
WORDS: dict[Answer, str] = {
    "yes": "beat {}",
    "ahead": "scored above {}, but the difference may be chance",
    "behind": "did not beat {}",
    "no": "did worse than {}",
    "undefined": "could not be compared with {}",
}


@dataclass(frozen=True)
class Verdict:
    """The verdict on one metric.

    Attributes:
        sentences: On another patient if there is one, on the metric, on the best of all estimates, on short fine-tuning
            if it was measured, on the best control, and on the truth.
        findings: Name of a metric, of short fine-tuning or of a control -> its result in words, metrics first.
    """

    sentences: tuple[str, ...]
    findings: dict[str, str]

    @property
    def text(self) -> str:
        """All sentences."""
        return " ".join(self.sentences)


def verdict(study: Study, *, metric: str = "ccfv") -> Verdict:
    """Write the verdict of a study on one metric."""
    table = study.agreement_of()
    rows: Rows = dict(zip(map(str, table.index), table.to_dict("records"), strict=True))
    named = dict.fromkeys([metric, *_estimates(rows)[:1]])
    sentences = (
        *other_patient_sentences(study, estimates={name: _readable(name) for name in named}),
        _on_metric(study, rows, metric),
        _on_best(study, rows, metric),
        _on_short_fine_tuning(study, rows, metric),
        _on_controls(rows),
        _on_truth(study),
    )
    return Verdict(
        sentences=tuple(sentence for sentence in sentences if sentence),
        findings={shown_name(name): _finding(study, name, row) for name, row in rows.items()},
    )


def _estimates(rows: Rows) -> list[str]:
    """The estimates with a defined agreement, best first."""
    return [name for name, row in rows.items() if row["kind"] == METRIC and np.isfinite(row[PRIMARY])]


def _opponent(study: Study) -> str:
    """The control that a metric has to beat: the static leaderboard, or on a single target the architecture."""
    names = study.agreement_of().index
    return ARCHITECTURE if STATIC not in names and ARCHITECTURE in names else STATIC


def _words(study: Study, answer: Answer) -> str:
    return WORDS[answer].format(_readable(_opponent(study)))


def _answer(study: Study, metric: str, *, of_many: bool = False) -> Answer:
    """How a metric compares with the control that it has to beat: "ahead" and "behind" if the difference may be chance.

    It may be if its interval contains 0, or for the best of many if its corrected p-value is above 0.05.
    """
    other = _opponent(study)
    if metric == other or other not in study.agreement_of().index:
        return "undefined"
    row = study.comparison(metric, other, measure=PRIMARY)
    difference, low, high = (float(row[name]) for name in ("difference", "low", "high"))
    if np.isnan([difference, low, high]).any():
        return "undefined"
    if row["p_max"] <= LEVEL if of_many else low > 0 or high < 0:
        return "yes" if difference > 0 else "no"
    return "ahead" if difference > 0 else "behind"


def _on_metric(study: Study, rows: Rows, metric: str) -> str:
    name = _readable(metric)
    if metric not in rows:
        return f"{name} was not scored in this study." if study.truth_from == FINE_TUNING else ""
    if np.isnan(rows[metric][PRIMARY]):
        return f"The agreement of {name} is {_finding(study, metric, rows[metric])}."
    answer = _answer(study, metric)
    other = _opponent(study)
    words = f"did not beat {_readable(other)} but did worse" if answer == "no" else _words(study, answer)
    text = f"{name} {words}: weighted Kendall {with_interval(rows[metric], PRIMARY)} ({_of_ceiling(rows[metric])})"
    if answer != "undefined":
        row = study.comparison(metric, other, measure=PRIMARY)
        text += (
            f" against {number(rows[other][PRIMARY])}, a difference of {number(row['difference'])} "
            f"[{number(row['low'])}, {number(row['high'])}]; it is ahead in {100 * row['probability']:.0f}% of the "
            "resamples"
        )
    return f"{text}. {_shown(study, metric, rows[metric])}"


def _shown(study: Study, metric: str, row: Row) -> str:
    """Whether agreement was shown, by the interval over sources and within families."""
    low, high = float(row[f"{PRIMARY}_low"]), float(row[f"{PRIMARY}_high"])
    if np.isnan([low, high]).any():
        return f"It has no interval ({row['interval_reason']})."
    if high < 0:
        return "It ranks the sources in reverse."
    within = _within_families(study, metric, row)
    if not low > 0:
        return "No agreement was shown."
    return f"It agrees with the truth{f', but {within}' if within else ''}."


def _within_families(study: Study, metric: str, row: Row) -> str:
    """Words for an agreement that is not shown within families; "" where it is, or where there is one family."""
    part: Row = study.agreement_of(subset=WITHIN_FAMILIES).to_dict("index").get(metric, {})
    if not part or part[f"{PRIMARY}_p"] <= LEVEL:
        return ""
    value, chance = float(part[PRIMARY]), float(row[f"{PRIMARY}_chance"])
    reasons = study.agreement_targets(metric, subset=WITHIN_FAMILIES)["reason"]
    undefined = "; ".join(dict.fromkeys(str(reason) for reason in reasons if reason))
    within = f"{number(value)}, {p_text(part[f'{PRIMARY}_p'])}" if np.isfinite(value) else undefined
    text = f"within families no agreement was shown ({within})"
    if chance >= MOST_OF_IT * float(row[PRIMARY]):
        return f"only by telling families of sources apart, which alone gives {number(chance)}: {text}"
    return text


def _on_best(study: Study, rows: Rows, metric: str) -> str:
    estimates = _estimates(rows)
    if not estimates:
        return "No estimate has a defined agreement."
    best, chance = estimates[0], study.best_by_chance
    if len(estimates) == 1:
        return ""
    if best == metric:
        return f"It was the best of {len(estimates)} estimates here."
    row, p = rows[best], float(rows[best][f"{PRIMARY}_p_max"])
    several = families_of(study.sources).nunique() > 1
    by_chance = "gains by chance, above what telling families apart gives," if several else "by chance is"
    text = (
        f"The best of {len(estimates)} estimates here was {_readable(best)}, weighted Kendall "
        f"{with_interval(row, PRIMARY)}; the best of as many {by_chance} {number(chance.mean)} on average and above "
        f"{number(chance.high)} in 5%. Corrected for having looked at all of them, "
    )
    if not p <= LEVEL:
        return f"{text}no agreement was shown ({p_text(p)})."
    within = _within_families(study, best, row)
    agrees = f"it agrees with the truth ({p_text(p)}){f', but {within}' if within else ''}"
    return f"{text}{agrees}; it {_words(study, _answer(study, best, of_many=True))}."


def _on_short_fine_tuning(study: Study, rows: Rows, metric: str) -> str:
    """The agreement and the cost of the cheapest short fine-tuning, next to those of estimates."""
    rungs = [name for name in STEPS_OF if name in rows]
    if not rungs:
        return ""
    cheapest = min(rungs, key=lambda name: np.nan_to_num(rows[name]["seconds"], nan=np.inf))
    row, steps = rows[cheapest], f"Short fine-tuning, {STEPS_OF[cheapest]} of the steps"
    if np.isnan(row[PRIMARY]):
        return f"{steps}, has no agreement: {_finding(study, cheapest, row)}."
    best = _estimates(rows)[:1]
    others = [f"the best estimate, {_readable(name)}, has {number(rows[name][PRIMARY])}" for name in best]
    if metric in _estimates(rows)[1:]:
        others.append(f"{_readable(metric)} {number(rows[metric][PRIMARY])}")
    text = (
        f"{steps}, each seed judged by the others, has weighted Kendall {with_interval(row, PRIMARY)} and costs "
        f"{_cost(rows, row)}"
    )
    return f"{text}; {' and '.join(others)}." if others else f"{text}."


def _cost(rows: Rows, row: Row) -> str:
    """The cost of one source in words, with its ratio to the mean cost of an estimate."""
    costs = [float(other["seconds"]) for other in rows.values() if other["kind"] == METRIC and other["seconds"] > 0]
    if np.isnan(row["seconds"]):
        return "an unknown time"
    if not costs:
        return f"{duration(float(row['seconds']))} per source"
    mean = float(np.mean(costs))
    return (
        f"{duration(float(row['seconds']))} per source, {row['seconds'] / mean:.3g} times the mean cost of an estimate "
        f"({duration(mean)})"
    )


def _on_controls(rows: Rows) -> str:
    controls = {name: row for name, row in rows.items() if row["kind"] == CONTROL and name != HINDSIGHT}
    best = next((name for name, row in controls.items() if np.isfinite(row[PRIMARY])), "")
    if not best:
        return ""
    chance = float(controls[best][f"{PRIMARY}_chance"])
    shown = chance >= SMALLEST_CHANCE and controls[best]["score_ties"] > 0
    tied = f" (its ties alone give {number(chance)})" if shown else ""
    return f"The best control was {_readable(best)} with {with_interval(controls[best], PRIMARY)}{tied}."


def _on_truth(study: Study) -> str:
    truth = dict(study.reliability_of())
    known = "a truth whose reliability is unknown"
    if np.isfinite(truth["kendall"]):
        known = f"a truth of reliability {with_interval(truth, 'kendall')}"
    size = f"{counted(len(study.pools), 'target')} with {truth['sources']:.3g} sources each"
    one_seed = one_seed_note(study)
    return f"Results are over {size}, against {known}.{f' {one_seed}' if one_seed else ''}"


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
    words = "no agreement was shown"
    if np.isnan([low, high]).any():
        words = f"has no interval ({row['interval_reason']})"
    elif low > 0 or high < 0:
        words = "agrees with the truth" if low > 0 else "ranks the sources in reverse"
    share = float(row[f"{PRIMARY}_share"])
    as_perfect = f", as well as a perfect predictor would ({100 * share:.0f}% of the ceiling)"
    perfect = as_perfect if share >= AT_CEILING and low > 0 else ""
    within = _within_families(study, name, row) if low > 0 else ""
    notes = "".join(f"; {note}" for note in (within, row["reason"]) if note)
    return f"{words}{perfect}: {with_interval(row, PRIMARY)}{notes}"


def _readable(metric: str) -> str:
    names = {"ccfv": "CC-FV", STATIC: "the static leaderboard", "parameters": "the parameter count"}
    return (names | {ARCHITECTURE: "the architecture alone"}).get(metric, shown_name(metric))
