"""In Table 1 the best is bold, and published means are next to ours."""

import re
from dataclasses import replace

import numpy as np
import pytest

from analysis.tables.latex_table import latex_table


@pytest.fixture(scope="module")
def rows(study):
    """(method, measure) -> cells."""
    found, method = {}, ""
    for line in latex_table(study).splitlines():
        if line.endswith(r"\\"):
            head, measure, *cells = [cell.strip() for cell in line.removesuffix(r"\\").split("&")]
            method = head or method
            found[method, measure] = cells
    return found


def test_every_method_has_both_measures_for_every_target_and_the_mean(study, rows):
    for name in study.agreement_of().index:
        for measure in (r"$\tau_w$", r"$\rho$"):
            assert len(rows[name.replace("_", r"\_"), measure]) == len(study.pools) + 2
    assert rows["Method", ""] == [*(pool.target for pool in study.pools), "Mean", "Published"]


def test_cells_are_the_study_s(study, rows):
    cell = rows["bad", r"$\tau_w$"][-2]
    assert float(cell) == pytest.approx(study.agreement_of().loc["bad", "weighted_kendall"], abs=5e-4)
    assert rows["constant", r"$\rho$"] == ["--"] * 7


def test_the_best_metric_of_a_target_is_bold_and_no_control_is(study, rows):
    bold = {name for (name, _), cells in rows.items() for cell in cells if cell.startswith(r"\textbf")}
    assert bold <= {"good", "gap", "late"}
    for place in range(len(study.pools) + 1):
        column = [cells[place] for (_, measure), cells in rows.items() if measure == r"$\rho$"]
        assert sum(cell.startswith(r"\textbf") for cell in column) >= 1


def test_published_figures_stand_beside_ours(study):
    agreement = study.agreement.replace({"metric": {"good": "ccfv"}})
    text = latex_table(replace(study, agreement=agreement))
    block = re.search(r"^ccfv & \$\\tau_w\$ .* & 0\.499 \\\\\n & \$\\rho\$ .* & 0\.700 \\\\$", text, re.MULTILINE)
    assert block


def test_braces_and_environments_are_closed(study):
    text = latex_table(study)
    assert text.count("{") == text.count("}")
    for name in ("table", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 1
    assert np.unique([line.count("&") for line in text.splitlines() if line.endswith(r"\\")]).tolist() == [8]
    assert not re.search(r"(?<!\\)_(?!w)", text.replace(r"\tau_w", ""))
