"""The figures of the report in reading order, each with a caption and an alternative text.

If there are too many panels to show, the page draws those of one metric on demand, from the points of `clouds`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.agreement.critical_difference import CriticalDifference
from analysis.evaluation.kinds import TRAINING, shown_name
from analysis.evaluation.layer_parts import TERMS, term_agreement
from analysis.evaluation.study import Study
from analysis.plots.comparison import bars, cost_plot, difference_diagram, with_cost
from analysis.plots.heat import dice_table, heat_map, score_maps
from analysis.plots.panels import cloud_of, mean_scatter, scatter, score_table, term_dots, term_scatter
from analysis.plots.regret import drawn_strategies, regret_plot
from analysis.plots.style import KINDS, MOST_PANELS, OTHER_KIND
from analysis.report.evidence import ReportEvidence

Section = Literal["agreement", "scatter", "differences", "maps", "cost", "race", "layers"]
MOST_POINTS = 25_000  # 0.3 MB of text; above that only the CSV has them
DIGITS = 5  # of a point's coordinates
SHORT_TRAINING = (
    "Diamonds: short fine-tuning of every source for a share of the steps, ranked by the Dice on validation cases, at "
    "the measured cost of training up to there; a choice made with one fine-tuning seed is judged by the other seeds, "
    "mean over the seeds. The front includes them."
)
NOT_COMPARED = "Short fine-tuning is left out; the table of differences from CC-FV has it."


@dataclass(frozen=True)
class Drawing:
    """A figure with its texts.

    Attributes:
        name: The name of its file.
        section: The section of the page.
        figure: The figure.
        alt: The alternative text: what the figure shows.
        caption: How to read the figure.
        on_page: Whether the page shows it; if not, it is only in the PDF.
    """

    name: str
    section: Section
    figure: Figure
    alt: str
    caption: str
    on_page: bool = True


def drawings(study: Study, evidence: ReportEvidence) -> Iterator[Drawing]:
    """Make the figures one after another, without those whose data are missing."""
    rows = study.agreement_of()
    metrics = list(map(str, rows.index))
    trained = bool((rows["kind"] == TRAINING).any())
    yield Drawing(
        "agreement",
        "agreement",
        bars(study),
        "Bars of weighted Kendall, mean over targets. " + _listed(rows["weighted_kendall"]),
        f"Blue: estimates; {'green: short fine-tuning; ' if trained else ''}grey: controls. Lines are 95% intervals; "
        "the dashed line is the ceiling, the expected agreement of a perfect predictor. Estimates whose intervals "
        "overlap are not ranked by this figure.",
    )
    yield from _panels(study, metrics)
    test = study.differences
    if not test.reason:
        alt = "Critical-difference diagram of mean weighted Kendall: " + _listed(pd.Series(test.agreement, dtype=float))
        caption = _differences_caption(test, len(study.pools)) + (f" {NOT_COMPARED}" if trained else "")
        yield Drawing("critical_difference", "differences", difference_diagram(test), alt, caption)
    table = dice_table(study.pools)
    yield Drawing(
        "dice",
        "maps",
        heat_map(study),
        f"Heat map of the {study.measure_name} of each source on each target. Best source of each: "
        + ", ".join(f"{target} {column.idxmax()} ({column.max():.2f})" for target, column in table.items()),
        f"Mean {study.measure_name} over the fine-tuning seeds. Blank: the source is not in that target's pool.",
    )
    for place, some in _batches(metrics, MOST_PANELS - 1):
        yield Drawing(
            f"ranks_{place}",
            "maps",
            score_maps(study, metrics=some),
            "Heat maps of the ranks that the truth and each metric give the sources of each target.",
            "Sources in the order of the map above. A metric that agrees with the truth has a similar map; horizontal "
            "stripes mean the same ranking on every target, as for the static leaderboard.",
        )
    if len(costs := with_cost(study)):
        yield Drawing(
            "cost",
            "cost",
            cost_plot(study),
            "Agreement against cost. Seconds per score: " + _listed(costs["seconds"]),
            "Further right costs more, higher is better. All estimates use one pass over the target, so most cost the "
            "same." + (f" {SHORT_TRAINING}" if trained else ""),
        )
    yield from _race(study)
    yield from _layers(study, evidence)


def all_panels(study: Study) -> bool:
    """Whether the page has a panel for every metric and target; if they are too many, it has means over targets."""
    return len(study.agreement_of()) * len(study.pools) <= MOST_PANELS


def clouds(study: Study) -> dict[str, object]:
    """Score against Dice of every metric and target.

    Returns:
        `targets` (name, sources, kinds, dice, error), `metrics` (name, scores and agreement per target), `colours` of
        the kinds, `measure` (the name of the truth's values); empty for more than 25,000 points.
    """
    metrics = [str(name) for name in study.agreement_of().index]
    if len(metrics) * sum(len(pool.sources) for pool in study.pools) > MOST_POINTS:
        return {}
    length = dict(zip(study.sources["source"], study.sources["length"], strict=True))
    scores = score_table(study)
    names = [pool.target for pool in study.pools]
    points = {metric: [cloud_of(study, scores, metric=metric, target=name) for name in names] for metric in metrics}
    agreement = {metric: study.agreement_targets(metric)["weighted_kendall"] for metric in metrics}
    return {
        "targets": [
            {
                "name": name,
                "sources": list(cloud.sources),
                "kinds": [str(length.get(source, "other")) for source in cloud.sources],
                "dice": _short(cloud.y),
                "error": _short(cloud.error),
            }
            for name, cloud in zip(names, points[metrics[0]], strict=True)
        ],
        "metrics": [
            {
                "name": shown_name(metric),
                "scores": [_short(cloud.x) for cloud in points[metric]],
                "agreement": _short(agreement[metric].reindex(names).to_numpy(dtype=np.float64)),
            }
            for metric in metrics
        ],
        "colours": {kind: colour for kind, (_, colour) in KINDS.items()} | {"other": OTHER_KIND[1]},
        "measure": study.measure_name,
    }


def _short(values: NDArray[np.float64]) -> list[float | None]:
    """Round to five digits; None (null in JSON) for values that are not finite."""
    return [float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in values]


def _panels(study: Study, metrics: list[str]) -> Iterator[Drawing]:
    """A panel for every metric and target; if they are too many, means on the page, and all panels for print.

    With too many points, print has only the means, too.
    """
    if all_panels(study):
        for metric in metrics:
            agreement = _listed(study.agreement_targets(metric)["weighted_kendall"])
            name = shown_name(metric)
            alt = f"{name} against {study.measure_name} on each target. Weighted Kendall: {agreement}"
            yield Drawing(f"scatter_{metric}", "scatter", scatter(study, metrics=[metric]), alt, name)
        return
    for place, some in _batches(metrics, MOST_PANELS):
        yield Drawing(
            f"scatter_means_{place}",
            "scatter",
            mean_scatter(study, metrics=some),
            f"Mean rank by the score against mean {study.measure_name} above the pool's mean, a panel each for "
            + ", ".join(map(shown_name, some)),
            "Each point is the mean of a source over targets; bars are standard errors over targets. Scores of "
            "different targets have no common scale and are replaced by their ranks.",
        )
    if sum(len(pool.sources) for pool in study.pools) * len(metrics) <= MOST_POINTS:
        for place, some in _batches(metrics, MOST_PANELS // len(study.pools)):
            text = f"Score against {study.measure_name} on each target: " + ", ".join(map(shown_name, some))
            yield Drawing(f"scatter_{place}", "scatter", scatter(study, metrics=some), text, text, on_page=False)


def _batches(names: list[str], most: int) -> Iterator[tuple[int, list[str]]]:
    """At most `most` names at a time, numbered from 1."""
    return enumerate((names[start : start + most] for start in range(0, len(names), most)), start=1)


def _race(study: Study) -> Iterator[Drawing]:
    if study.race is None or drawn_strategies(study.race).empty:
        return
    regrets = drawn_strategies(study.race).set_index("strategy")["regret"]
    yield Drawing(
        "race",
        "race",
        regret_plot(study.race, measure=study.measure_name),
        f"Regret against cost of each way to pick a source. {study.measure_name} points: " + _listed(100 * regrets),
        "Further right costs more, lower is better. Points without a name are other estimates and controls; the table "
        "has them all. Vertical lines are 95% intervals over the targets, cut off at the edge.",
    )


def _layers(study: Study, evidence: ReportEvidence) -> Iterator[Drawing]:
    if evidence.terms.empty:
        return
    agreement = term_agreement(study, evidence.terms)
    means = agreement.groupby(["layer", "term"], sort=False, as_index=False)["weighted_kendall"].mean()
    names = [f"layer {layer} {TERMS[str(term)]}" for layer, term in zip(means["layer"], means["term"], strict=True)]
    values = pd.Series(means["weighted_kendall"].to_numpy(dtype=np.float64), index=names)
    yield Drawing(
        "ccfv_terms",
        "layers",
        term_dots(agreement),
        "Weighted Kendall of each term of CC-FV with the Dice, mean over targets. " + _listed(values),
        "The agreement of each term on its own; layer 1 is the coarsest. The score is the mean over layers of the "
        "last term.",
    )
    yield Drawing(
        "ccfv_layers",
        "layers",
        term_scatter(study, evidence.terms),
        "Consistency against variety, one panel per layer, one point per pair of source and target, coloured by its "
        "Dice.",
        "If CC-FV ranks correctly, bright points are at the upper right.",
    )


def _listed(values: "pd.Series[float]") -> str:
    return ", ".join(
        f"{shown_name(str(name))} {value:.2f}" if np.isfinite(value) else f"{shown_name(str(name))} undefined"
        for name, value in values.items()
    )


def _differences_caption(test: CriticalDifference, targets: int) -> str:
    text = (
        f"Weighted Kendall, mean over {targets} targets; best on the left. A bar joins those that differ by less than "
        f"{test.difference:.2f}, the critical difference of all pairs at 0.05, from the bootstrap resamples of the "
        f"sources, which all targets share. The hypothesis that all agree equally well has p = {test.p:.2g}."
    )
    return text + (f" Not defined on every target: {', '.join(test.left_out)}." if test.left_out else "")
