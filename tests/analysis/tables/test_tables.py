"""A table is described column by column, and shows the same in the terminal, in Markdown, in LaTeX and on the page."""

import io
import re

from rich.console import Console

from analysis.report import ReportEvidence, page
from analysis.tables import study_tables
from analysis.tables.study_tables import study_latex, study_markdown
from analysis.tables.tables import Column, Table, latex, markdown, table_of
from analysis.tables.terminal import TerminalTable

COLUMNS = (Column("metric", "metric"), Column("tau", "tau", note="tau: Kendall's."), Column("n", "n", "{:g}".format))


def test_cells_are_fields_or_computed_and_text_stays():
    rows = [{"metric": "a", "tau": 0.125, "n": 3.0}, {"metric": "b", "tau": float("nan"), "n": ""}]
    table = table_of("Title", (*COLUMNS, Column("2 n", lambda row: 2 * row["n"])), [rows[:1], rows[1:]], ["last"])
    assert table.columns == ("metric", "tau", "n", "2 n")
    assert table.rows == [("a", "0.12", "3", "6.00"), ("b", "–", "", "")]  # noqa: RUF001
    assert table.notes == ("tau: Kendall's.", "last")


def test_notes_are_of_the_columns_that_are_shown():
    assert table_of("Title", COLUMNS[::2], [[]]).notes == ()


def test_a_column_is_added_in_one_place(study, monkeypatch):
    added = Column("how_many", lambda row: f"{row['metric']} has 40%", note="how_many: a note of its own.")
    monkeypatch.setattr(study_tables, "RESULT_COLUMNS", (*study_tables.RESULT_COLUMNS, added))
    stream = io.StringIO()
    for table in study_tables.study_tables(study):
        Console(file=stream, width=200).print(TerminalTable(table))
    shown = {
        "terminal": stream.getvalue(),
        "Markdown": study_markdown(study),
        "LaTeX": study_latex(study).replace("\\", ""),
        "page": page(study, ReportEvidence(suite="planted"), []),
    }
    for place, text in shown.items():
        assert re.search(r"\bgood has 40%", text), place
        assert text.count("how_many") == 2, place
        assert "how_many: a note of its own." in " ".join(text.split()), place


def test_markdown_keeps_a_bar_in_a_cell():
    assert r"a\|b" in markdown(Table("t", ("x",), ((("a|b",),),)))


def test_latex_has_a_rule_between_groups_and_escapes_text():
    text = latex(Table("50% & more", ("a_b", "c"), ((("x_1", "0.5"), ("y", "1")), (("z", "2"),)), ("note_1",)))
    lines = text.splitlines()
    assert r"\caption{50\% \& more}" in lines
    assert lines[lines.index(r"\toprule") :][:8] == [
        r"\toprule",
        r"a\_b & c \\",
        r"\midrule",
        r"x\_1 & 0.5 \\",
        r"y & 1 \\",
        r"\midrule",
        r"z & 2 \\",
        r"\bottomrule",
    ]
    assert lines[-1] == r"note\_1"
