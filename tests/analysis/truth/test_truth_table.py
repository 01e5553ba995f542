"""A truth from a table: what it holds, what is left out, what is wrong."""

import re
from types import SimpleNamespace

import pandas as pd
import pytest

from analysis.truth.truth_table import read_table, read_truth_table, rows_outside
from benchmark.errors import InputError

SUITE = SimpleNamespace(name="small", targets={"liver": "a scan"})


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "truth.csv"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_fractions_stay_and_percent_become_fractions(written):
    fractions = read_table(written("source,target,dice\na,liver,0.5\nb,liver,1.0\n"))
    percent = read_table(written("source,target,dice\na,liver,50\nb,liver,100\n"))
    assert fractions.truth["dice"].tolist() == percent.truth["dice"].tolist() == [0.5, 1.0]
    assert (fractions.percent, percent.percent) == (False, True)
    assert fractions.cases is None
    assert set(fractions.truth["seed"]) == {0}


def test_cases_count_by_their_mean_for_each_seed(written):
    lines = [f"a,liver,{seed},{case},{0.2 + 0.2 * case + 0.1 * seed}" for seed in (0, 1) for case in (0, 1)]
    found = read_table(written("source,target,seed,case,dice\n" + "\n".join(lines)))
    assert found.truth["dice"].tolist() == pytest.approx([0.3, 0.4])
    assert len(found.cases) == 4


def test_the_settings_choose(written):
    assert read_truth_table("fine_tuning", None) is None
    assert read_truth_table("table", "openmind_primus_m").truth["target"].nunique() == 12
    with pytest.raises(InputError, match="truth must be fine_tuning or table, got csv"):
        read_truth_table("csv", None)
    with pytest.raises(
        InputError, match=r"table is only used with truth=table, got table=x.csv with truth=fine_tuning"
    ):
        read_truth_table("fine_tuning", "x.csv")
    with pytest.raises(InputError, match="table must name a CSV file with the columns source, target, dice, got None"):
        read_truth_table("table", None)


def test_a_file_that_is_no_table_is_told(written, tmp_path):
    with pytest.raises(InputError, match=re.escape("table must be a CSV file, got")):
        read_table(written('source,target,dice\n"a,liver'))
    with pytest.raises(InputError, match="table must name a CSV file or one of"):
        read_table(str(tmp_path))


def test_what_the_suite_does_not_hold_is_left_out_and_said():
    sources = pd.DataFrame({"source": ["a", "b"]})
    truth = pd.DataFrame({"source": ["a", "c"], "target": ["liver", "lung"]})
    assert rows_outside(truth, sources, SUITE) == (
        "left out of the table because suite small does not contain it: source c; target lung"
    )
    assert rows_outside(truth[:1], sources, SUITE) == ""
    with pytest.raises(InputError, match=re.escape("table must contain a target of suite small (liver), got lung")):
        rows_outside(truth.assign(target="lung"), sources, SUITE)
