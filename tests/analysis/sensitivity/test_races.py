"""Races with other settings on a pool whose Dice differ alike on each validation case."""

import numpy as np
import pandas as pd
import pytest

from analysis.evaluation.race_replay import NO_RUNGS, RUNGS
from analysis.evaluation.race_strategies import FINE_TUNE_ALL
from analysis.evaluation.short_fine_tuning import RUNG_COLUMNS
from analysis.sensitivity.races import RaceSettings, compare_races, race_table
from analysis.sensitivity.report import Findings, study_tables, write_files
from analysis.truth.pools import Pool

SOURCES = tuple("abcdefgh")
DICE = np.linspace(0.8, 0.1, 8)
SETTINGS = RaceSettings(metrics=("logme", "absent"))


def frames():
    """A pool of eight sources and two seeds, the scores of a metric that ranks them in reverse, rungs and cases."""
    pool = Pool("liver", "all", SOURCES, (0, 1), np.stack([DICE, DICE], axis=1))
    scores = pd.DataFrame(
        {"source": SOURCES, "target": "liver", "metric": "logme", "score": range(8), "seconds": 1.0, "kind": "metric"}
    )
    rungs = pd.DataFrame(
        [(source, "liver", seed, "all", rung, dice, 10.0)
         for source, dice in zip(SOURCES, DICE, strict=True) for seed in (0, 1) for rung in RUNGS],
        columns=list(RUNG_COLUMNS),
    )  # fmt: skip
    validation = pd.concat([rungs.drop(columns="seconds").assign(case=str(case)) for case in range(6)])
    return [pool], scores, rungs, validation


@pytest.fixture(scope="module")
def compared():
    return compare_races(*frames(), settings=SETTINGS)


def test_every_eta_is_raced_with_every_number_of_candidates(compared):
    names = {(row["candidates"], row["eta"]) for row in compared.means.to_dict("records")}
    candidates = ("best 4 by logme", "best 8 by logme", "all")
    assert names == {("", ""), *((one, eta) for one in candidates for eta in "234")}


def test_costs_are_those_of_halving_and_scoring(compared):
    means = compared.means.set_index(["candidates", "eta"])
    assert means.loc[("all", "2"), "cost"] == (8 + 4 + 2 * 2 + 1 * 4) / 64
    assert means.loc[("all", "4"), "cost"] == (8 + 2 + 1 * 2 + 1 * 4) / 64
    scoring = 1 / 10
    assert means.loc[("best 8 by logme", "2"), "cost"] == pytest.approx(scoring + 20 / 64)
    assert means.loc[("best 4 by logme", "3"), "cost"] == pytest.approx(scoring + (4 + 2 + 1 * 2 + 1 * 4) / 64)


def test_what_is_not_raced_cannot_win(compared):
    means = compared.means.set_index(["candidates", "eta"])
    assert means.loc[("all", "3"), "regret"] == 0
    assert means.loc[("best 4 by logme", "3"), "regret"] == pytest.approx(DICE[0] - DICE[4])


def test_the_budget_is_that_of_the_settings():
    pools, scores, rungs, validation = frames()
    noise = np.random.default_rng(0).uniform(-0.4, 0.4, len(validation))
    unclear = validation.assign(dice=0.5 + noise)
    costs = [
        compare_races(pools, scores, rungs, unclear, settings=RaceSettings((2,), (None,), budget)).means["cost"].iloc[1]
        for budget in (0.0, 0.45, 1.0)
    ]
    assert costs[0] == 20 / 64
    assert costs[0] < costs[1] <= 0.45 < costs[2]


def test_the_table_groups_the_same_candidates(compared, tmp_path):
    table = race_table("races: how many?", compared)
    assert [len(group) for group in table.groups] == [1, 3, 3, 3]
    assert table.rows[0][:2] == (FINE_TUNE_ALL, "")
    assert [row[:2] for row in table.groups[3]] == [("all", "2"), ("", "3"), ("", "4")]
    assert table.groups[3][0][2:4] == ("31%", "0.0")  # one target has no interval
    findings = Findings({"races": "how many?"}, pd.DataFrame(), {}, {"races": compared})
    assert [shown.title for shown in study_tables(findings)] == ["races: how many?"]
    paths = write_files(findings, [table], tmp_path)
    assert {path.name for path in paths} == {"variants.md", "variants.csv", "variants_races.csv"}
    stored = pd.read_csv(tmp_path / "variants_races.csv")
    assert set(stored["scope"]) == {"target", "mean"}
    assert {"regret", "cost", "candidates", "eta"} <= set(stored.columns)


def test_a_study_without_validation_cases_has_only_the_reasons():
    pools, scores, rungs, validation = frames()
    nothing = compare_races(pools, scores, rungs.iloc[:0], validation.iloc[:0], settings=SETTINGS)
    assert nothing.rows.empty
    assert race_table("races", nothing).rows == [("liver", NO_RUNGS)]
