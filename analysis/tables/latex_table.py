"""The paper's Table 1 of a study in LaTeX: weighted Kendall and Pearson of each method by target and in the mean."""

import numpy as np
import pandas as pd

from analysis.evaluation.kinds import shown_name
from analysis.evaluation.study import FINE_TUNING, Study
from analysis.published import CITATION, PUBLISHED
from analysis.tables.study_tables import PRIMARY, by_kind
from analysis.tables.tables import latex_environment, latex_text
from analysis.tables.truth_tables import one_seed_note
from analysis.truth.quality import Noise

TABLE_1 = {PRIMARY: r"$\tau_w$", "pearson": r"$\rho$"}  # the measures of Table 1


def latex_table(study: Study) -> str:
    """The paper's Table 1: weighted Kendall and Pearson of each method, by target and as means; best in bold.

    The last column gives the published means of Yang et al. (MICCAI 2023, arXiv 2307.11958), which are for another pool
    and other targets; a study of CSV files has no such column. Metrics come in descending order of weighted Kendall,
    then short fine-tuning, then controls.
    """
    targets = [pool.target for pool in study.pools]
    kinds = study.agreement_of()["kind"]
    lines = []
    for name, kind in kinds.items():
        by_target = study.agreement_targets(str(name))
        for place, (measure, label) in enumerate(TABLE_1.items()):
            mean = study.agreement_of()[measure].get(name, np.nan)
            published = PUBLISHED.get(str(name), {}).get(measure, np.nan)
            head = [kind, measure, shown_name(str(name)) if place == 0 else "", label]
            lines.append([*head, *by_target[measure].reindex(targets), mean, published])
    frame = pd.DataFrame(lines, columns=["kind", "measure", "Method", "", *targets, "Mean", "Published"])
    hidden = ["kind", "measure"] if study.truth_from == FINE_TUNING else ["kind", "measure", "Published"]
    style = frame.drop(columns=hidden).style.format(precision=3, na_rep="--")
    style = style.format(escape="latex", subset=["Method"])
    for measure in TABLE_1:
        metrics = (frame["kind"] == "metric") & (frame["measure"] == measure)
        style = style.highlight_max(subset=(metrics, [*targets, "Mean"]), props="textbf:--rwrap;")
    groups = [len(part) for part in by_kind(frame)]
    columns = "ll" + "r" * (len(frame.columns) - len(hidden) - 2)
    return latex_environment(style, groups=groups, columns=columns, caption=_caption(study)) + "\n"


def _caption(study: Study) -> str:
    truth = study.reliability_of()
    seeds = f"{truth['seeds']:.3g} {'seed' if truth['seeds'] == 1 else 'seeds'}"
    tuned, measure = latex_text(study.tune), latex_text(study.measure_name)
    published = f" Published: mean over five MSD CT targets, {latex_text(CITATION)}."
    return (
        f"Agreement of transferability estimates with the {measure} after fine-tuning (tuned: {tuned}; "
        f"{truth['sources']:.3g} sources per target, {seeds}): "
        f"weighted Kendall $\\tau_w$ and Pearson $\\rho$. {_quality(study)}"
        f"{published if study.truth_from == FINE_TUNING else ''}"
    )


def _quality(study: Study) -> str:
    """The reliability and the ceiling in a sentence, or that there are none."""
    truth = study.reliability_of()
    if one_seed_note(study):
        return "One seed per source, so no reliability or ceiling is stated."
    if np.isnan(truth["kendall"]):
        return "The reliability of the truth and its ceiling are unknown."
    return (
        f"Reliability of the truth {truth['kendall']:.2f} (Kendall, over {truth['noise'] or Noise.SEEDS}), "
        f"ceiling of $\\tau_w$ {truth['weighted_kendall_ceiling']:.2f}."
    )
