"""The table and the sentences on races: they say openly when a race is not worth it, and when that is not known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.evaluation.race_replay import NO_CASES, NO_RUNGS, RaceReplay, StrategyKind, mean_rows
from analysis.evaluation.race_strategies import FINE_TUNE_ALL, FLOOR, RACE_ALL, RANDOM
from analysis.evaluation.short_fine_tuning import ONE_SEED
from analysis.tables.race_tables import race_sentences, race_tables
from analysis.truth.pools import Scope

TARGETS = ("liver", "lung", "colon")
KINDS = {
    FINE_TUNE_ALL: (StrategyKind.ALL, 1.0),
    RACE_ALL: (StrategyKind.RACE, 0.36),
    "short fine-tuning, 1/4": (StrategyKind.SHORT, 0.3),
    "logme": (StrategyKind.ESTIMATE, 0.09),
    "ccfv": (StrategyKind.ESTIMATE, 0.1),
    "static_leaderboard": (StrategyKind.CONTROL, 0.05),
    RANDOM: (StrategyKind.RANDOM, 0.05),
    FLOOR: (StrategyKind.FLOOR, 1.0),
}


def replayed(**regrets):
    """A replay with the regrets, one per target, of strategies of `KINDS`; others lose 5 points on each."""
    named = {"all": FINE_TUNE_ALL, "race": RACE_ALL, "short": "short fine-tuning, 1/4", "random": RANDOM}
    given = {named.get(name, name): values for name, values in regrets.items()}
    rows = [
        (Scope.TARGET, target, name, kind, given.get(name, (0.05,) * 3)[place], cost, 20, 2, "")
        for place, target in enumerate(TARGETS)
        for name, (kind, cost) in KINDS.items()
    ]
    frame = pd.DataFrame(
        rows, columns=["scope", "target", "strategy", "kind", "regret", "cost", "sources", "seeds", "reason"]
    )
    return RaceReplay(frame, means_of(frame))


def means_of(rows):
    """The means, and what all strategies lose without weak sources."""
    return mean_rows(rows).assign(without_weak=0.021)


def sentences(study, **regrets):
    return race_sentences(replace(study, race=replayed(all=(0.01, 0.0, 0.02), **regrets)))


def test_the_first_sentence_says_what_a_race_costs_and_loses(study):
    first, _ = sentences(study, race=(0.013, 0.004, 0.025))
    assert first == (
        "Racing all sources costs 36% of fine-tuning all, and its winner is 0.4 [0.2, 0.6] Dice points worse than the "
        "choice by fine-tuning all (mean over 3 targets); a random pick is 4.0 points worse."
    )


def test_a_race_is_worth_it_if_what_costs_no_more_loses_more(study):
    _, second = sentences(study, race=(0.01, 0.0, 0.02), logme=(0.031, 0.02, 0.041))
    assert second == (
        "The race is worth it here: top of logme, chosen afterwards as the best of those that cost no more, costs 9% "
        "and loses 2.1 [1.9, 2.2] Dice points more than the race."
    )


def test_a_difference_that_may_be_chance_is_not_shown(study):
    _, second = sentences(study, race=(0.01, 0.0, 0.02), static_leaderboard=(0.05, 0.0, 0.01))
    assert second == (
        "That the race is worth it is not shown here: top of static_leaderboard, chosen afterwards as the best of "
        "those that cost no more, costs 5% and loses 1.0 [-5.6, 7.6] Dice points more than the race."
    )


def test_a_race_is_not_worth_it_if_something_cheaper_loses_less(study):
    _, second = sentences(study, race=(0.02, 0.01, 0.03), short=(0.01, 0.0, 0.02))
    assert second == (
        "The race is not worth it here: short fine-tuning, 1/4, chosen afterwards as the best of those that cost no "
        "more, costs 30% and does not lose more; its regret minus the race's is -1.0 [-1.0, -1.0] Dice points."
    )


def test_that_it_is_not_worth_it_needs_an_interval_too(study):
    _, second = sentences(study, race=(0.02, 0.01, 0.03), short=(0.01, 0.0, 0.04))
    assert second.startswith("That the race is worth it is not shown here: short fine-tuning, 1/4, ")
    assert " and does not lose more; its regret minus the race's is -0.3 [-3.2, +2.5] Dice points." in second


def test_the_best_of_all_other_estimates_is_not_compared(study):
    _, second = sentences(study, race=(0.02, 0.01, 0.03), ccfv=(0.0, 0.0, 0.0))
    assert second.startswith("The race is worth it here")


def test_the_table_has_every_strategy_by_kind_and_regret(study):
    race = replayed(all=(0.01, 0.0, 0.02), race=(0.013, 0.004, 0.025), ccfv=(0.01, 0.02, 0.03))
    means, by_target = race_tables(replace(study, race=race))
    names = ["fine-tune all", "race all", "short fine-tuning, 1/4", "top of ccfv", "top of logme",
             "top of static_leaderboard", "random pick", "best of the seed's test Dice"]  # fmt: skip
    assert [row[0] for row in means.rows] == names
    assert [len(group) for group in means.groups] == [3, 2, 3]
    assert means.rows[1] == ("race all", "36%", "1.4 [-1.2, 4.0]", "+0.4 [+0.2, +0.6]", "2.1")
    assert means.rows[0][3] == ""
    assert "mean over 3 targets with 20.0 sources each" in means.title
    assert by_target.columns == ("strategy", *TARGETS)
    assert by_target.rows[1] == ("race all", "1.3", "0.4", "2.5")


def test_undefined_regrets_are_explained(study):
    race = replayed()
    race.rows.loc[race.rows["strategy"] == RACE_ALL, ["regret", "reason"]] = [np.nan, NO_CASES]
    undefined = replace(study, race=RaceReplay(race.rows, means_of(race.rows), {"spleen": NO_RUNGS}))
    notes = race_tables(undefined)[0].notes
    assert f"spleen: {NO_RUNGS}" in notes
    assert f"race all on lung: {NO_CASES}" in notes
    assert race_sentences(undefined) == (f"Whether a race is worth it is not known: {NO_CASES}.",)


def test_nothing_is_said_if_fine_tuning_all_is_undefined(study):
    race = replayed()
    race.rows.loc[(race.rows["strategy"] == FINE_TUNE_ALL) & (race.rows["target"] == "lung"), ["regret", "reason"]] = [
        np.nan, "no validation Dice at the rung full",
    ]  # fmt: skip
    unknown = replace(study, race=RaceReplay(race.rows, means_of(race.rows)))
    assert race_sentences(unknown) == ("Whether a race is worth it is not known: no validation Dice at the rung full.",)


def test_a_single_seed_is_explained_once_a_target(study):
    race = replayed()
    rows = race.rows.assign(regret=np.nan, reason=ONE_SEED)
    one_seed = replace(study, race=RaceReplay(rows, means_of(rows)))
    assert f"all strategies on lung: {ONE_SEED}" in race_tables(one_seed)[0].notes
    assert race_sentences(one_seed) == (f"Whether a race is worth it is not known: {ONE_SEED}.",)


@pytest.mark.parametrize("reasons", [{}, {"liver": NO_RUNGS}])
def test_without_rows_there_are_at_most_the_reasons(study, reasons):
    empty = replayed().rows.iloc[:0]
    nothing = replace(study, race=RaceReplay(empty, empty, reasons))
    assert race_sentences(nothing) == ()
    assert [table.rows for table in race_tables(nothing)] == ([[("liver", NO_RUNGS)]] if reasons else [])
    assert race_tables(replace(study, race=None)) == race_sentences(replace(study, race=None)) == ()
