"""A table on a terminal: names are whole, or listed in full; nothing is wider than the terminal."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from analysis.tables.tables import Table, markdown
from analysis.tables.terminal import TerminalTable, shortened

LONG = [
    "Dataset219_AMOS2022_postChallenge_task2__3d_fullres",
    "Dataset219_AMOS2022_postChallenge_task1__3d_fullres",
    "supervised_suprem_swinunetr_2100_for_abdominal_atlas",
]
SHORT = ["unet", "swin_unetr_of_a_bundle", "Dataset501_Made__3d_fullres"]


def table(names, *, columns=9):
    heads = ("place", "source", *(f"metric_{place}" for place in range(columns)))
    rows = tuple((str(place), name, *(f"0.{place}{column}5" for column in range(columns)))
                 for place, name in enumerate(names))  # fmt: skip
    return Table("a pool", heads, (rows,), ("a note",))


def printed(shown, width=80):
    stream = io.StringIO()
    Console(file=stream, width=width).print(TerminalTable(shown))
    return stream.getvalue()


def test_a_table_that_fits_is_one_piece():
    text = printed(table(SHORT), width=160)
    assert text.count("source") == 1
    assert all(name in text for name in SHORT)


def test_columns_that_have_no_room_follow_in_pieces_that_name_every_row():
    text = printed(table(SHORT))
    assert max(map(len, text.splitlines())) <= 80
    pieces = text.count("place")
    assert 1 < pieces < 5
    assert all(text.count(f" {name} ") == pieces for name in SHORT[1:])
    shown = re.findall(r"metric_\d", text)
    assert shown == [f"metric_{place}" for place in range(9)]  # each once, in order
    assert all(text.count(f"0.{place}{column}5") == 1 for place in range(3) for column in range(9))


def test_long_names_are_shortened_alike_and_listed_in_full():
    text = printed(table(LONG))
    assert max(map(len, text.splitlines())) <= 80
    for name in LONG:
        assert name in text


def test_a_name_that_is_wider_than_the_terminal_is_listed_over_lines():
    name = "x" * 70 + "y" * 70
    text = printed(table([name, "unet"]))
    assert max(map(len, text.splitlines())) <= 80
    assert name in text.replace("\n", "")


def test_a_table_without_columns_is_title_and_notes():
    shown = Table("agreement", (), (), ("Too few sources.",))
    assert printed(shown).splitlines() == ["agreement", "Too few sources."]
    assert markdown(shown) == "### agreement\n\n\n- Too few sources.\n"


def test_a_table_without_rows_or_heads():
    assert "metric" in printed(Table("empty", ("metric", ""), ()))


@pytest.mark.parametrize("width", [20, 40, 80])
def test_nothing_is_wider_than_the_terminal(width):
    text = printed(table([*LONG, *SHORT]), width=width)
    assert max(map(len, text.splitlines())) <= width


@given(st.sets(st.text("ab_", min_size=1, max_size=40), min_size=1, max_size=12), st.integers(8, 30))
def test_short_names_differ_from_each_other_and_from_whole_ones(names, most):
    short = shortened(names, most)
    shown = [short.get(name, name) for name in names]
    assert len(set(shown)) == len(names)
    assert all(len(name) <= most for name in shown)
    assert set(short) == {name for name in names if len(name) > most}
