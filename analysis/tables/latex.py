"""A LaTeX table in the form of the paper's Table 1: weighted Kendall and Pearson of each method, by target and mean.

The last column gives the published means of Yang et al. (MICCAI 2023, arXiv 2307.11958), which are for another pool and
other targets.
"""

import re
from collections.abc import Sequence

import numpy as np

from analysis.evaluation.study import MEAN, Study
from analysis.published import CITATION, PUBLISHED

MEASURES = {"weighted_kendall": r"$\tau_w$", "pearson": r"$\rho$"}
UNDEFINED = "--"
SPECIAL = re.compile(r"([&%$#_{}])")


def latex_table(study: Study) -> str:
    """Write the table as LaTeX (package booktabs).

    Args:
        study: The result of `correlate`.

    Returns:
        A `table` environment: metrics in descending order of weighted Kendall, then controls; the best metric of each
        column is bold.
    """
    targets = [pool.target for pool in study.pools]
    rows = study.agreement_of()
    names = {kind: [str(name) for name in rows.index[rows["kind"] == kind]] for kind in ("metric", "control")}
    best = {measure: _best(study, names["metric"], targets, measure) for measure in MEASURES}
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_caption(study)}}}",
        rf"\begin{{tabular}}{{ll{'r' * len(targets)}rr}}",
        r"\toprule",
        " & ".join(["Method", "", *map(_escaped, targets), "Mean", "Published"]) + r" \\",
    ]
    for kind, members in names.items():
        lines.append(r"\midrule")
        for name in members:
            lines += _block(study, name, targets, best if kind == "metric" else {})
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def _block(study: Study, name: str, targets: Sequence[str], best: dict[str, list[float]]) -> list[str]:
    lines = []
    for place, (measure, label) in enumerate(MEASURES.items()):
        values = _values(study, name, targets, measure)
        tops = best.get(measure, [float("nan")] * len(values))
        cells = [_cell(value, bold=value == top) for value, top in zip(values, tops, strict=True)]
        published = PUBLISHED.get(name, {}).get(measure, float("nan"))
        head = _escaped(name) if place == 0 else ""
        lines.append(" & ".join([head, label, *cells, _cell(published, bold=False)]) + r" \\")
    return lines


def _values(study: Study, name: str, targets: Sequence[str], measure: str) -> list[float]:
    by_target = study.agreement_targets(name)[measure]
    mean = study.agreement_of(MEAN)[measure]
    return [*(float(by_target.get(target, np.nan)) for target in targets), float(mean.get(name, np.nan))]


def _best(study: Study, names: Sequence[str], targets: Sequence[str], measure: str) -> list[float]:
    table = np.array([_values(study, name, targets, measure) for name in names], dtype=float)
    return [float(np.nanmax(column)) if np.isfinite(column).any() else float("nan") for column in table.T]


def _caption(study: Study) -> str:
    row = study.reliability_of()
    return (
        f"Agreement of transferability estimates with the Dice after fine-tuning (tuned: {_escaped(study.tune)}; "
        f"{row['sources']:.3g} sources per target, {row['seeds']:.3g} seeds): weighted Kendall $\\tau_w$ and Pearson "
        f"$\\rho$. Reliability of the truth {row['kendall']:.2f} (Kendall, split half), ceiling of $\\tau_w$ "
        f"{row['weighted_kendall_ceiling']:.2f}. Published: mean over five MSD CT targets, {_escaped(CITATION)}."
    )


def _cell(value: float, *, bold: bool) -> str:
    if np.isnan(value):
        return UNDEFINED
    return rf"\textbf{{{value:.3f}}}" if bold else f"{value:.3f}"


def _escaped(text: str) -> str:
    return SPECIAL.sub(r"\\\1", text)
