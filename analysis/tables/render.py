"""Render tables for the terminal (rich) and as Markdown; write the agreement of a study as CSV."""

from collections.abc import Collection

from rich.console import RenderableType

from analysis.evaluation.study import Study
from analysis.tables.tables import HEADLINE, Table, result_table, target_table, truth_table
from analysis.tables.terminal import TerminalTable


def study_tables(study: Study, *, intervals: Collection[str] = ("weighted_kendall",)) -> tuple[Table, ...]:
    """All tables of a study in reading order.

    Args:
        study: The result of `correlate`.
        intervals: The measures shown with their interval in the table of results.

    Returns:
        Truth, result, and weighted Kendall and Pearson by target.
    """
    by_target = (target_table(study, measure=measure) for measure in ("weighted_kendall", "pearson"))
    return (truth_table(study), result_table(study, intervals=intervals), *by_target)


def terminal(table: Table, *, legend: bool = True) -> RenderableType:
    """Render a table for `rich.console.Console.print`; a table wider than the console is printed in several pieces.

    Args:
        table: The table.
        legend: Whether shortened names are listed in full below the title.

    Returns:
        Title, table and notes.
    """
    return TerminalTable(table, legend=legend)


def markdown(table: Table) -> str:
    """Render a table in GitHub's Markdown: the title as a heading, the notes as a list.

    Args:
        table: The table.

    Returns:
        The text, ending in a newline.

    Example:
        >>> print(markdown(Table("Title", ("metric", "tau"), ((("ccfv", "0.50"),),))))
        ### Title
        <BLANKLINE>
        | metric | tau |
        |---|---|
        | ccfv | 0.50 |
        <BLANKLINE>
    """
    rows = [row for group in table.groups for row in group]
    lines = [_row(table.columns), "|" + "---|" * len(table.columns), *map(_row, rows)] if table.columns else []
    notes = ["", *(f"- {note}" for note in table.notes)] if table.notes else []
    return "\n".join([f"### {table.title}", "", *lines, *notes, ""])


def study_markdown(study: Study) -> str:
    """Render all tables of a study in Markdown, with intervals for all three headline measures."""
    return "\n".join(map(markdown, study_tables(study, intervals=HEADLINE)))


def study_csv(study: Study) -> str:
    """The frame `study.agreement` as CSV: one row per subset, target (or mean), tune and metric."""
    return study.agreement.to_csv(index=False)


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
