"""The figures of the report in reading order, each with a caption and an alternative text."""

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
NOT_COMPARED = "best_in_hindsight"  # it uses the truth


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
    """Make the figures one after another.

    Args:
        study: The result of `correlate`.
        evidence: What the report shows in addition to the study.

    Yields:
        The figures, without those whose data are missing.
    """
    metrics = [str(name) for name in study.agreement_of().index]
    yield Drawing(
        "agreement",
        "agreement",
        bars(study),
        "Bars of weighted Kendall, mean over targets. " + _listed(study.agreement_of()["weighted_kendall"]),
        "Blue: estimates; grey: controls. Lines are 95% intervals; the dashed line is the ceiling, the expected "
        "agreement of a perfect predictor. Estimates whose intervals overlap are not ranked by this figure.",
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
        "Mean Dice over the fine-tuning seeds. Blank: the source is not in that target's pool.",
    )
    for start in range(0, len(metrics), MOST_PANELS - 1):
        yield Drawing(
            f"ranks_{start // (MOST_PANELS - 1) + 1}",
            "maps",
            score_maps(study, metrics=metrics[start : start + MOST_PANELS - 1]),
            "Heat maps of the ranks that the truth and each metric give the sources of each target.",
            "Sources in the order of the map above. A metric that agrees with the truth has a similar map; horizontal "
            "stripes mean the same ranking on every target, as for the static leaderboard.",
        )
    rows = study.agreement_of()
    if bool(((rows["seconds"] > 0) & rows["weighted_kendall"].notna() & (rows["kind"] == "metric")).any()):
        yield Drawing(
            "cost",
            "cost",
            cost_plot(study),
            "Agreement against cost. Seconds per score: " + _listed(rows["seconds"][rows["kind"] == "metric"]),
            "Further right costs more, higher is better. All estimates use one pass over the target, so most cost the "
            "same.",
        )
    yield from _layers(study, evidence)


def ranks(study: Study) -> CriticalDifference:
    """The critical difference of all metrics and controls except `best_in_hindsight`."""
    rows = study.agreement[(study.agreement["subset"] == ALL) & (study.agreement["tune"] == study.tune)]
    rows = rows[~rows["target"].isin(MEANS) & (rows["metric"] != NOT_COMPARED)]
    return critical_difference(
        rows.pivot_table(index="metric", columns="target", values="weighted_kendall", dropna=False)
    )


def all_panels(study: Study) -> bool:
    """Whether the page has a panel for every metric and target; if they are too many, it has means over targets."""
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
                "Each point is the mean of a source over targets; bars are standard errors over targets. Scores of "
                "different targets have no common scale and are replaced by their ranks.",
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
    """Pages of the PDF with a panel for every metric and target, unless there are too many points."""
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
        f"{name} {value:.2f}" if np.isfinite(value) else f"{name} undefined" for name, value in values.items()
    )


def _ranks_alt(found: CriticalDifference) -> str:
    return "Critical-difference diagram. Mean ranks: " + _listed(pd.Series(dict(found.ranks)))


def _ranks_caption(found: CriticalDifference) -> str:
    text = (
        f"Mean rank by weighted Kendall over {found.targets} targets; 1 is best. Friedman's test of equal ranks: "
        f"p = {found.p:.2g}. A bar joins those that do not differ by Nemenyi's test at 0.05 (difference below "
        f"{found.difference:.1f} ranks). The critical difference is large because targets are few; the test assumes "
        "independent targets, and targets that share a scan are not."
    )
    return text + (f" Not defined on every target: {', '.join(found.left_out)}." if found.left_out else "")
