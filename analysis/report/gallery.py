"""The figures of the report in reading order, each with its caption and a text for readers who cannot see it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.agreement.critical_difference import CriticalDifference, critical_difference
from analysis.evaluation.layer_parts import TERMS, term_agreement
from analysis.evaluation.study import ALL, MEANS, Study
from analysis.plots import (
    MOST_PANELS,
    bars,
    cost_plot,
    dice_table,
    heat_map,
    mean_scatter,
    rank_diagram,
    scatter,
    score_maps,
    term_dots,
    term_scatter,
)
from analysis.report.clouds import MOST_POINTS
from analysis.report.evidence import ReportEvidence

Section = Literal["agreement", "scatter", "ranks", "maps", "cost", "layers"]
NOT_COMPARED = "best_in_hindsight"  # it sees the answer


@dataclass(frozen=True)
class Drawing:
    """A figure as it is shown.

    Attributes:
        name: Of its file.
        section: The part of the page that it stands in.
        figure: The figure.
        alt: What it shows, in words and figures.
        caption: How to read it.
        on_page: Whether the page shows it; if not, only the PDF does.
    """

    name: str
    section: Section
    figure: Figure
    alt: str
    caption: str
    on_page: bool = True


def drawings(study: Study, evidence: ReportEvidence) -> Iterator[Drawing]:
    """Make the figures one after another.

    Args:
        study: What `correlate` found.
        evidence: What stands beside it.

    Yields:
        The figures; one whose data are missing is left out.
    """
    metrics = [str(name) for name in study.agreement_of().index]
    yield Drawing(
        "agreement",
        "agreement",
        bars(study),
        "Bars of weighted Kendall, mean over targets. " + _listed(study.agreement_of()["weighted_kendall"]),
        "Blue: estimates; grey: controls. Lines are 95% intervals; the dashed line is what a perfect predictor could "
        "expect. Overlapping intervals are no ranking.",
    )
    yield from _panels(study, metrics)
    found = ranks(study)
    if not found.reason:
        yield Drawing("critical_difference", "ranks", rank_diagram(found), _ranks_alt(found), _ranks_caption(found))
    table = dice_table(study.pools)
    yield Drawing(
        "dice",
        "maps",
        heat_map(study),
        "Heat map of the Dice of each source on each target. Best source of each: "
        + ", ".join(f"{target} {column.idxmax()} ({column.max():.2f})" for target, column in table.items()),
        "Mean Dice over the fine-tuning seeds. Blank: the source stands outside that target's pool.",
    )
    for start in range(0, len(metrics), MOST_PANELS - 1):
        yield Drawing(
            f"ranks_{start // (MOST_PANELS - 1) + 1}",
            "maps",
            score_maps(study, metrics=metrics[start : start + MOST_PANELS - 1]),
            "Heat maps of the ranks that the truth and each metric give the sources of each target.",
            "Sources in the order of the map above. A map like that of the truth agrees with it; a map of level "
            "stripes ranks the sources alike on every target, as the static leaderboard does.",
        )
    rows = study.agreement_of()
    if bool(((rows["seconds"] > 0) & rows["weighted_kendall"].notna() & (rows["kind"] == "metric")).any()):
        yield Drawing(
            "cost",
            "cost",
            cost_plot(study),
            "Agreement against cost. Seconds a score: " + _listed(rows["seconds"][rows["kind"] == "metric"]),
            "Right is dearer, up is better. All estimates read one pass over the target, so that most cost the same.",
        )
    yield from _layers(study, evidence)


def ranks(study: Study) -> CriticalDifference:
    """The critical difference of all metrics and controls but the one that sees the answer."""
    rows = study.agreement[(study.agreement["subset"] == ALL) & (study.agreement["tune"] == study.tune)]
    rows = rows[~rows["target"].isin(MEANS) & (rows["metric"] != NOT_COMPARED)]
    return critical_difference(
        rows.pivot_table(index="metric", columns="target", values="weighted_kendall", dropna=False)
    )


def all_panels(study: Study) -> bool:
    """Whether a panel for every metric and target can be drawn and read; otherwise there are means over targets."""
    return len(study.agreement_of()) * len(study.pools) <= MOST_PANELS


def _panels(study: Study, metrics: list[str]) -> Iterator[Drawing]:
    if not all_panels(study):
        for start in range(0, len(metrics), MOST_PANELS):
            some = metrics[start : start + MOST_PANELS]
            yield Drawing(
                f"scatter_means_{start // MOST_PANELS + 1}",
                "scatter",
                mean_scatter(study, metrics=some),
                "Mean rank by the score against mean Dice above the pool's mean, a panel each for " + ", ".join(some),
                "A point is a source, its mean over the targets; bars are standard errors over targets. Scores of "
                "different targets have no common scale, so that ranks stand for them.",
            )
        yield from _for_print(study, metrics)
        return
    for metric in metrics:
        found = study.agreement_targets(metric)["weighted_kendall"]
        yield Drawing(
            f"scatter_{metric}",
            "scatter",
            scatter(study, metrics=[metric]),
            f"{metric} against Dice on each target. Weighted Kendall: {_listed(found)}",
            metric,
        )


def _for_print(study: Study, metrics: list[str]) -> Iterator[Drawing]:
    """Pages of the PDF with a panel for every metric and target, where that are not too many points."""
    points = sum(len(pool.sources) for pool in study.pools)
    if points * len(metrics) > MOST_POINTS:
        return
    most = MOST_PANELS // len(study.pools)
    for start in range(0, len(metrics), most):
        some = metrics[start : start + most]
        text = "Score against Dice on each target: " + ", ".join(some)
        figure = scatter(study, metrics=some)
        yield Drawing(f"scatter_{start // most + 1}", "scatter", figure, text, text, on_page=False)


def _layers(study: Study, evidence: ReportEvidence) -> Iterator[Drawing]:
    if evidence.terms.empty:
        return
    agreement = term_agreement(study, evidence.terms)
    means = agreement.groupby(["layer", "term"], sort=False, as_index=False)["weighted_kendall"].mean()
    names = [f"layer {layer} {TERMS[str(term)]}" for layer, term in zip(means["layer"], means["term"], strict=True)]
    told = pd.Series(means["weighted_kendall"].to_numpy(dtype=np.float64), index=names)
    yield Drawing(
        "ccfv_terms",
        "layers",
        term_dots(agreement),
        "Weighted Kendall of each term of CC-FV with the Dice, mean over targets. " + _listed(told),
        "How well each term ranks the sources by itself; layer 1 is the coarsest. The score is the mean of the "
        "layers' last terms.",
    )
    yield Drawing(
        "ccfv_layers",
        "layers",
        term_scatter(study, evidence.terms),
        "Consistency against variety, a panel a layer, a point a pair of source and target, coloured by its Dice.",
        "Were CC-FV right, bright points would lie to the upper right.",
    )


def _listed(values: "pd.Series[float]") -> str:
    return ", ".join(
        f"{name} {value:.2f}" if np.isfinite(value) else f"{name} undefined" for name, value in values.items()
    )


def _ranks_alt(found: CriticalDifference) -> str:
    return "Critical-difference diagram. Mean ranks: " + _listed(pd.Series(dict(found.ranks)))


def _ranks_caption(found: CriticalDifference) -> str:
    text = (
        f"Mean rank by weighted Kendall over {found.targets} targets; 1 is best. Friedman's test that all are alike: "
        f"p = {found.p:.2g}. A bar joins those that Nemenyi's test does not tell apart at 0.05 (difference below "
        f"{found.difference:.1f} ranks). Few targets make it wide, and it takes them for independent, which targets "
        "that share a scan are not."
    )
    return text + (f" Not defined on every target: {', '.join(found.left_out)}." if found.left_out else "")
