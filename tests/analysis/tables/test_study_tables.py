"""The tables say what the study found; in Table 1 the best is bold and published means are next to ours."""

import io
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from analysis.evaluation.correlate import correlate
from analysis.tables.number_format import UNDEFINED
from analysis.tables.study_tables import (
    gain_table_of,
    latex_table,
    result_table,
    study_latex,
    study_markdown,
    study_tables,
    target_table,
    truth_table,
)
from analysis.tables.tables import Table
from analysis.tables.terminal import TerminalTable
from analysis.truth.seed_case_bootstrap import CASE_COLUMNS


def cells(table, name):
    return dict(zip(table.columns, next(row for group in table.groups for row in group if row[0] == name), strict=True))


def test_result_table_parts_metrics_and_controls(study):
    metrics, controls = result_table(study).groups
    assert [row[0] for row in metrics][:2] == ["good", "bad"]
    assert {row[0] for row in metrics} == {"good", "bad", "constant", "gap", "late"}
    assert {row[0] for row in controls[:2]} == {"best_in_hindsight", "static_leaderboard"}
    assert {row[0] for row in controls} >= {"random", "parameters", "source_dice", "source_cases", "static_leaderboard"}


def test_result_table_shows_the_study(study):
    table, row = result_table(study), study.agreement_of().loc["good"]
    shown = cells(table, "good")
    assert shown["weighted Kendall [95%]"].startswith(
        f"{row['weighted_kendall']:.2f} [{row['weighted_kendall_low']:.2f}"
    )
    assert shown["share"] == f"{100 * row['weighted_kendall_share']:.0f}%"
    assert shown["regret"] == f"{100 * row['top1_regret']:.1f}"
    assert shown["cost [s]"] == "0.50"
    assert "5 targets, 12 sources each, 4 fine-tuning seeds (tuned: last)" in table.title


def test_result_table_tells_every_gap(study):
    table = result_table(study)
    assert cells(table, "gap")["NaN"] == "1"
    assert cells(table, "gap")["Pearson"] == UNDEFINED
    assert "gap on liver: no score for 1 of 12 sources: s03 (class 1 in fewer than two cases)" in table.notes
    assert "constant on colon, kidney, liver, lung, spleen: all scores are alike" in table.notes


def test_published_figures_stand_beside(planted):
    truth, scores, sources = planted
    table = result_table(correlate(truth, scores.replace({"metric": {"good": "ccfv"}}), sources, resamples=20))
    assert cells(table, "ccfv")["paper"] == ".70, .50"
    assert cells(table, "bad")["paper"] == ""
    assert "by scan" not in table.columns


def test_truth_table_comes_first_and_names_the_means(study):
    table = study_tables(study)[0]
    assert table == truth_table(study)
    names = [row[0] for row in table.groups[0]]
    assert names == ["mean", "mean by scan", "mean, without weak", "mean by scan, without weak"]
    assert cells(table, "mean, without weak")["sources x seeds"] == "10 x 4"
    assert [row[0] for row in table.groups[1]] == ["colon", "kidney", "liver", "lung", "spleen"]


def test_reliability_is_also_over_cases_where_they_are_known(planted, study):
    assert "over seeds [95%]" not in truth_table(study).columns
    truth, scores, sources = planted
    rows = [
        (source, target, seed, tune, f"case{case}", "organ", dice + 0.05 * np.cos(7 * case * (place + 1)))
        for place, (source, target, seed, tune, dice) in enumerate(truth.itertuples(index=False))
        for case in range(5)
        if target != "lung"
    ]
    known = correlate(truth, scores, sources, resamples=50, cases=pd.DataFrame(rows, columns=list(CASE_COLUMNS)))
    table, row = truth_table(known), known.reliability_of("liver")
    assert cells(table, "liver")["r Kendall [95%]"].startswith(f"{row['kendall']:.2f} [{row['kendall_low']:.2f}")
    assert cells(table, "liver")["over seeds [95%]"].startswith(f"{row['kendall_over_seeds']:.2f} [")
    assert "Over seeds only: lung." in table.notes
    assert known.reliability_of()["noise"] == "seeds, on some targets also cases"


def test_truth_table_says_whether_choosing_matters(study):
    shown, row = cells(truth_table(study), "liver"), study.reliability_of("liver")
    assert (shown["best - median"], shown["by noise alone"]) == (
        f"{row['best_minus_median']:.3f}",
        f"{row['by_noise']:.3f}",
    )
    assert row["best_minus_median"] > 3 * row["by_noise"]
    assert "choosing a source does not matter" in truth_table(study).notes[0]


def test_gain_comes_above_the_agreement(study):
    tables = study_tables(study)
    assert tables[1] == gain_table_of(study)
    assert tables[2].title.startswith("Agreement with the truth")
    means, targets = tables[1].groups
    assert [row[:2] for row in means] == [("mean", "dynunet")]
    assert [row[0] for row in targets] == ["colon", "kidney", "liver", "lung", "spleen"]
    row = study.gain.iloc[0]
    assert means[0][5] == f"{row['gain']:+.3f} [{row['gain_low']:+.3f}, {row['gain_high']:+.3f}]"


def test_without_scratch_sources_the_gain_is_one_line(planted):
    truth, scores, sources = planted
    trained = sources.assign(length=sources["length"].replace("scratch", "long"))
    table = gain_table_of(correlate(truth, scores, trained, resamples=20))
    assert len(table.rows) == 1
    assert "no pool has a source trained from scratch" in table.rows[0][0]


def test_a_linear_probe_is_called_one(planted):
    truth, scores, sources = planted
    table = truth_table(correlate(truth.assign(tune="head"), scores, sources, resamples=20))
    assert any("linear probe, which favours LogME and H-score" in note for note in table.notes)


def test_a_source_outside_a_pool_is_told(planted):
    truth, scores, sources = planted
    short = truth.drop(truth[(truth["source"] == "s07") & (truth["target"] == "lung") & (truth["seed"] == 3)].index)
    table = truth_table(correlate(short, scores, sources, resamples=20))
    assert "lung: without s07: no Dice with seed 3" in table.notes


def test_target_table_has_a_column_a_target(study):
    table = target_table(study, measure="pearson")
    assert table.columns == ("metric", "mean", "colon", "kidney", "liver", "lung", "spleen")
    assert cells(table, "gap")["liver"] == UNDEFINED
    assert cells(table, "good")["liver"] == f"{study.agreement_targets('good').loc['liver', 'pearson']:.2f}"


def test_other_tuning_has_columns_of_its_own(planted):
    truth, scores, sources = planted
    extra = truth[truth["target"] == "liver"].assign(tune="all")
    found = correlate(pd.concat([truth, extra]), scores, sources, resamples=20)
    assert target_table(found).columns[-1] == "liver (all)"
    assert [row[:2] for row in truth_table(found).groups[2]] == [("liver", "all")]


@pytest.mark.parametrize("width", [80, 120])
def test_terminal_keeps_every_word(study, width):
    stream = io.StringIO()
    console = Console(file=stream, width=width)
    console.print(TerminalTable(Table("Title", ("metric", "value"), ((("[bold]x", "0.5"),),), ("a note",))))
    for table in study_tables(study):
        console.print(TerminalTable(table))
    text = stream.getvalue()
    assert "[bold]x" in text
    assert "a note" in text
    assert all(line == line.rstrip("\n") and len(line) <= width for line in text.splitlines())
    assert text.count("static_leaderboard") >= 3


def test_an_empty_table_is_drawn():
    stream = io.StringIO()
    Console(file=stream, width=80).print(TerminalTable(Table("Nothing", ("metric", "value"), ())))
    assert "Nothing" in stream.getvalue()


def test_markdown_and_latex_have_every_table(study):
    text = study_markdown(study)
    assert text.count("### ") == 5
    assert re.search(r"^\| good +\| ", text, re.MULTILINE)
    assert re.search(r"\| Pearson \[95%\] +\| Kendall \[95%\] +\| weighted Kendall \[95%\] +\|", text)
    assert study_latex(study).count(r"\begin{tabular}") == 5


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
