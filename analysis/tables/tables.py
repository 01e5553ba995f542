"""Tables of text cells, described column by column, and their Markdown and LaTeX.

A column is described in one place, by its label, its cell and its note; `analysis.tables.terminal` and the templates
show the same table in the terminal and on a page.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from analysis.tables.number_format import number

Row = Mapping[Any, Any]
LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}"}
)


def _text(value: object) -> str:
    return number(float(value)) if isinstance(value, float | np.floating) else str(value)


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        label: The header.
        cell: The field of the row that is shown, or what computes the value from the row.
        form: Value -> the text of the cell; text stays as it is. By default a number has two digits.
        note: What a reader must know about the column, shown below every table that has it.
    """

    label: str
    cell: str | Callable[[Row], object]
    form: Callable[[Any], str] = _text
    note: str = ""

    def text(self, row: Row) -> str:
        """The cell of a row."""
        value = row[self.cell] if isinstance(self.cell, str) else self.cell(row)
        return value if isinstance(value, str) else self.form(value)


@dataclass(frozen=True)
class Table:
    """A table of text cells.

    Attributes:
        title: One line above the table.
        columns: The column headers.
        groups: The rows, in groups separated by a rule; each row has one cell per column.
        notes: Lines below the table.
    """

    title: str
    columns: tuple[str, ...]
    groups: tuple[tuple[tuple[str, ...], ...], ...]
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The rows of all groups."""
        return [row for group in self.groups for row in group]


def table_of(
    title: str, columns: Sequence[Column], groups: Iterable[pd.DataFrame | Sequence[Row]], notes: Iterable[str] = ()
) -> Table:
    """Fill a table; the notes of its columns come first, in one line.

    Args:
        title: One line above the table.
        columns: The columns.
        groups: The rows, in groups separated by a rule.
        notes: Further lines below the table.

    Example:
        >>> table_of("Title", [Column("tau", "kendall", note="tau: Kendall's.")], [[{"kendall": 0.5}]])
        Table(title='Title', columns=('tau',), groups=((('0.50',),),), notes=("tau: Kendall's.",))
    """
    explained = " ".join(dict.fromkeys(column.note for column in columns if column.note))
    rows = (group.to_dict("records") if isinstance(group, pd.DataFrame) else group for group in groups)
    return Table(
        title,
        tuple(column.label for column in columns),
        tuple(tuple(tuple(column.text(row) for column in columns) for row in group) for group in rows),
        (*([explained] if explained else []), *notes),
    )


def markdown(table: Table) -> str:
    """The table in GitHub's Markdown: the title as a heading, the notes as a list; ends in a newline.

    Example:
        >>> print(markdown(Table("Title", ("metric", "tau"), ((("ccfv", "0.50"),),))))
        ### Title
        <BLANKLINE>
        | metric   | tau   |
        |----------|-------|
        | ccfv     | 0.50  |
        <BLANKLINE>
    """
    return f"### {table.title}\n\n{markdown_body(table)}"


def markdown_body(table: Table) -> str:
    """The table in GitHub's Markdown without its title; ends in a newline."""
    frame = pd.DataFrame(table.rows, columns=list(table.columns)).replace(r"\|", r"\\|", regex=True)
    body = [frame.to_markdown(index=False, tablefmt="github", disable_numparse=True)] if table.columns else []
    notes = ["", *(f"- {note}" for note in table.notes)] if table.notes else []
    return "\n".join([*body, *notes, ""])


def latex(table: Table) -> str:
    """The table as a LaTeX `table` environment (package booktabs), its notes as paragraphs below it."""
    style = pd.DataFrame(table.rows, columns=list(table.columns)).style
    text = latex_environment(
        style.format(escape="latex"),
        groups=[len(group) for group in table.groups],
        columns="l" + "r" * (len(table.columns) - 1),
        caption=latex_text(table.title),
    )
    return "\n\n".join([text, *map(latex_text, table.notes)]) + "\n"


def latex_environment(style: Styler, *, groups: Sequence[int], columns: str, caption: str) -> str:
    """A frame as a LaTeX `table` environment with a rule between groups of rows.

    Args:
        style: The frame, its cells formatted; the index is left out.
        groups: The number of rows of each group.
        columns: The alignment of the columns, such as "lrr".
        caption: LaTeX.
    """
    style = style.format_index(escape="latex", axis="columns").hide(axis="index")
    text = style.to_latex(hrules=True, position_float="centering", column_format=columns, caption=caption)
    lines = text.splitlines()
    first = lines.index(r"\midrule") + 1
    for end in np.cumsum([size for size in groups if size])[-2::-1]:
        lines.insert(first + int(end), r"\midrule")
    return "\n".join(lines)


def latex_text(text: str) -> str:
    r"""Text with the characters escaped that LaTeX reads as commands.

    Example:
        >>> print(latex_text("source_dice: 50%"))
        source\_dice: 50\%
    """
    return text.translate(LATEX)
