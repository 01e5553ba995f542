"""Tables fitted to the width of the terminal: columns that do not fit are printed in further pieces."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from textwrap import fill

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from analysis.tables.tables import Table

NAME = "source"  # the column whose cells name the rows; a table without it uses its first column
SHARE = 0.5  # share of the terminal width that names may take before they are shortened
UNLIMITED = 10_000  # a terminal width that any table fits


@dataclass(frozen=True)
class TerminalTable:
    """Title, table and notes, fitted to the console that prints them.

    A table that is wider than the console is split between columns, and each piece repeats the columns up to the name.
    A name longer than half the console width is shortened in the middle, stays unique, and is listed in full below the
    title.
    """

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield title, table pieces and notes (rich's protocol)."""
        table, width = self.table, options.max_width
        yield Text(table.title, style="bold")
        if table.columns:
            fitted, short = _with_short_names(table, width) if _width(table, console) > width else (table, {})
            for name, whole in short.items():
                yield Text(f"{name}: {whole}", style="dim")
            for columns in _pieces(fitted, width, console):
                yield _drawn(fitted, columns)
        for note in table.notes:
            yield Text(note, style="dim")


def shortened(names: Collection[str], most: int) -> dict[str, str]:
    """Shorten long names in the middle so that they stay unique.

    Args:
        names: Distinct names.
        most: The maximum number of characters, at least 8.

    Returns:
        Name that is too long -> its short form.

    Example:
        >>> shortened(["liver", "liver_long_1_unet", "liver_long_2_unet"], 11)
        {'liver_long_1_unet': 'live…1…unet', 'liver_long_2_unet': 'live…2…unet'}
        >>> shortened(["liver_long_1_unet"], 11)
        {'liver_long_1_unet': 'liver…_unet'}
    """
    long = sorted(name for name in names if len(name) > most)
    short = {name: _cut(name, most, "…") for name in long}
    taken = [*short.values(), *(name for name in names if name not in short)]
    numbers = count(1)
    for name in long:
        if taken.count(short[name]) > 1:
            numbered = (_cut(name, most, f"…{number}…") for number in numbers)
            short[name] = next(form for form in numbered if form not in taken)
    return short


def _cut(name: str, most: int, middle: str) -> str:
    left = most - len(middle)
    return name[: left - left // 2] + middle + name[len(name) - left // 2 :]


def _with_short_names(table: Table, width: int) -> tuple[Table, dict[str, str]]:
    """The table with long names shortened, and short name -> full name."""
    place = _name_column(table)
    names = dict.fromkeys(row[place] for row in table.rows)
    short = shortened(names, max(int(SHARE * width), 8))
    groups = tuple(
        tuple((*row[:place], short.get(row[place], row[place]), *row[place + 1 :]) for row in group)
        for group in table.groups
    )
    return replace(table, groups=groups), {short[name]: name for name in names if name in short}


def _pieces(table: Table, width: int, console: Console) -> Iterator[Sequence[int]]:
    """The columns of each piece: those up to the name, and as many others as fit, at least one."""
    keys = list(range(_name_column(table) + 1))
    piece = list(keys)
    for column in range(len(keys), len(table.columns)):
        if len(piece) > len(keys) and _width(table, console, [*piece, column]) > width:
            yield piece
            piece = list(keys)
        piece.append(column)
    yield piece


def _name_column(table: Table) -> int:
    return table.columns.index(NAME) if NAME in table.columns else 0


def _width(table: Table, console: Console, columns: Sequence[int] | None = None) -> int:
    drawn = _drawn(table, range(len(table.columns)) if columns is None else columns)
    return Measurement.get(console, console.options.update(max_width=UNLIMITED), drawn).maximum


def _drawn(table: Table, columns: Sequence[int]) -> RenderableType:
    drawn = RichTable(box=box.SIMPLE_HEAD)
    drawn.collapse_padding, drawn.pad_edge = True, False
    for place in columns:
        head = table.columns[place]
        # wrap the header between words rather than widen the column
        width = max((cell_len(text) for text in (*head.split(), *(row[place] for row in table.rows))), default=1)
        names = place <= _name_column(table)
        drawn.add_column(
            Text(fill(head, max(width, 1))), justify="left" if names else "right", no_wrap=names, overflow="fold"
        )
    for group in table.groups:
        for row in group:
            drawn.add_row(*(Text(row[place]) for place in columns))  # Text: brackets in a cell are not markup
        drawn.add_section()
    return drawn
