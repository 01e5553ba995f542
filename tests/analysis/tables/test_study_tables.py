"""The tables say what the study found; in Table 1 the best is bold and published means are next to ours."""

import io
import re

import pandas as pd
import pytest
from rich.console import Console

from analysis.evaluation.correlate import correlate
from analysis.tables.latex_table import latex_table
from analysis.tables.number_format import UNDEFINED
from analysis.tables.study_tables import result_table, study_latex, study_markdown, study_tables, target_table
from analysis.tables.tables import Table
from analysis.tables.terminal import TerminalTable
from analysis.tables.truth_tables import truth_table


def cells(table, name):
    return dict(zip(table.columns, next(row for group in table.groups for row in group if row[0] == name), strict=True))


def test_result_table_parts_metrics_and_controls(study):
    metrics, controls = result_table(study).groups
    assert [row[0] for row in metrics][:2] == ["good", "bad"]
    assert {row[0] for row in metrics} == {"good", "bad", "constant", "gap", "late"}
    assert {row[0] for row in controls[:2]} == {"best_in_hindsight", "static_leaderboard"}
    assert {row[0] for row in controls} >= {"random", "parameters", "source_dice", "source_cases", "static_leaderboard"}


def test_short_fine_tuning_is_a_group_between_metrics_and_controls_with_readable_names(trained):
    table = result_table(trained)
    metrics, short, controls = table.groups
    names = ["short fine-tuning, 1/2", "short fine-tuning, 1/4", "short fine-tuning, 1/8"]
    assert [row[0] for row in short] == names  # best first: the planted noise falls with the steps
    assert "ccfv" in {row[0] for row in metrics}
    assert "random" in {row[0] for row in controls}
    shown = cells(table, names[2])
    assert shown["cost [s]"] == "20.00"
    assert shown["p of many"] == UNDEFINED
    assert any(note.startswith("short fine-tuning: the Dice on validation cases") for note in table.notes)
    assert [row[0] for row in target_table(trained).groups[1]] == names
    assert "fine_tuning_" not in study_markdown(trained)
    assert r"short fine-tuning, 1/4 & $\tau_w$" in latex_table(trained)


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
