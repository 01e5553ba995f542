"""Replayed races on small tables: who is picked, what it costs in steps, and what it loses by the other seeds."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from scipy.stats import sem, t

from analysis.evaluation.kinds import CONTROL, METRIC
from analysis.evaluation.race_replay import (
    NO_CASES,
    NO_RUNGS,
    RUNGS,
    Pick,
    RecordedPool,
    Strategy,
    StrategyKind,
    difference,
    mean_rows,
    recorded_pools,
    replay,
)
from analysis.evaluation.race_strategies import FINE_TUNE_ALL, FLOOR, RACE_ALL, RANDOM, race_replay
from analysis.evaluation.short_fine_tuning import ONE_SEED, RUNG_COLUMNS
from analysis.truth.pools import Pool
from benchmark.training import trainer

SOURCES = ("a", "b", "c", "d")
DICE = np.array([0.5, 0.6, 0.7, 0.8])
CASES = 2  # fewer than an interval needs, so that races only halve


def pool(dice, target="liver"):
    dice = np.asarray(dice, dtype=float)
    return Pool(target, "all", SOURCES[: len(dice)], tuple(range(dice.shape[1])), dice)


def both(dice):
    """The same Dice with two seeds."""
    return np.stack([dice, dice], axis=1)


def frames(pools, *, cases=CASES, scores=(), seconds=10.0):
    """Rungs and validation cases that have the Dice of the test cases at every rung, and the scores of metrics."""
    rungs = [
        (source, one.target, seed, one.tune, rung, one.dice[i, s], seconds * step / RUNGS["full"])
        for one in pools
        for i, source in enumerate(one.sources)
        for s, seed in enumerate(one.seeds)
        for rung, step in RUNGS.items()
    ]
    rungs = pd.DataFrame(rungs, columns=list(RUNG_COLUMNS))
    validation = pd.concat([rungs.drop(columns="seconds").assign(case=f"case_{case}") for case in range(cases)])
    columns = ["source", "target", "metric", "score", "seconds", "kind"]
    return pd.DataFrame(scores, columns=columns), rungs, validation


def scored(values, metric="logme", *, seconds=2.0, kind=METRIC, target="liver"):
    return [(source, target, metric, value, seconds, kind) for source, value in zip(SOURCES, values, strict=False)]


def replayed(*pools, **settings):
    return race_replay(pools, *frames(pools, **settings))


def by_strategy(result):
    return result.rows.set_index("strategy")


def test_what_validation_shows_is_found_at_the_price_of_halving():
    rows = by_strategy(replayed(pool(both(DICE))))
    assert rows.loc[RACE_ALL, "regret"] == 0
    # 4 for one eighth of the steps, 2 for one, 1 for two, 1 for four: 12 of 32 eighths
    assert rows.loc[RACE_ALL, "cost"] == 12 / 32
    assert rows.loc[FINE_TUNE_ALL, ["regret", "cost"]].tolist() == [0, 1]
    # all for an eighth, the pick for the other seven eighths
    assert rows.loc["short fine-tuning, 1/8", ["regret", "cost"]].tolist() == [0, 1 / 8 + 7 / 8 / 4]
    assert rows.loc["short fine-tuning, 1/2", "cost"] == 1 / 2 + 1 / 2 / 4
    assert rows.loc[RANDOM, "regret"] == pytest.approx(0.8 - 0.65)
    assert rows.loc[RANDOM, "cost"] == 1 / 4
    assert rows.loc[FLOOR, ["regret", "cost"]].tolist() == [0, 1]


def test_the_top_of_an_estimate_costs_scoring_and_its_fine_tuning():
    scores = [*scored(-DICE), *scored(DICE, "parameters", seconds=0.0, kind=CONTROL)]
    rows = by_strategy(replayed(pool(both(DICE)), scores=scores))
    assert rows.loc["logme", "regret"] == pytest.approx(0.3)
    assert rows.loc["logme", "cost"] == 2 / 10 + 1 / 4
    assert rows.loc["parameters", ["regret", "cost"]].tolist() == [0, 1 / 4]


def test_a_race_of_the_better_half_by_an_estimate_can_only_win_with_what_it_kept():
    rows = by_strategy(replayed(pool(both(DICE)), scores=scored([4, 3, 2, 1])))
    half = rows.loc["race the better half by logme"]
    assert half["regret"] == pytest.approx(0.8 - 0.6)  # b is the better of a and b
    assert half["cost"] == pytest.approx(2 / 10 + (2 * 1 + 1 * 1 + 1 * 2 + 1 * 4) / 32)


def test_only_the_metrics_that_a_study_has_are_raced():
    strategies = set(by_strategy(replayed(pool(both(DICE)), scores=scored(DICE))).index)
    assert {name for name in strategies if name.startswith("race")} == {RACE_ALL, "race the better half by logme"}


def test_the_random_control_and_the_reference_in_hindsight_are_no_strategies():
    scores = [row for name in ("random", "best_in_hindsight", "family") for row in scored(DICE, name, kind=CONTROL)]
    strategies = set(by_strategy(replayed(pool(both(DICE)), scores=scores)).index)
    assert "family" in strategies
    assert not strategies & {"random", "best_in_hindsight"}


def test_sources_with_equal_scores_share_the_pick():
    rows = by_strategy(replayed(pool(both(DICE)), scores=scored([1, 1, 0, 0])))
    assert rows.loc["logme", "regret"] == pytest.approx(0.8 - 0.55)


def test_a_pick_is_judged_by_the_other_seeds():
    dice = np.array([[0.9, 0.3], [0.5, 0.6]])  # each seed would pick the worse one for the other
    rows = by_strategy(replayed(pool(dice)))
    regret = ((0.6 - 0.3) + (0.9 - 0.5)) / 2
    for name in (RACE_ALL, FINE_TUNE_ALL, FLOOR, "short fine-tuning, 1/4"):
        assert rows.loc[name, "regret"] == pytest.approx(regret)
    three = np.array([[0.9, 0.3, 0.6], [0.5, 0.6, 0.7]])
    judges = np.array([[0.45, 0.65], [0.75, 0.6], [0.6, 0.55]])  # the mean of the other two, of a and b
    picks = [0, 1, 1]
    expected = np.mean([judge.max() - judge[pick] for judge, pick in zip(judges, picks, strict=True)])
    assert by_strategy(replayed(pool(three))).loc[FINE_TUNE_ALL, "regret"] == pytest.approx(expected)


def test_a_single_seed_has_costs_but_no_regret():
    result = replayed(pool(DICE[:, None]), scores=scored(DICE))
    assert result.rows["regret"].isna().all()
    assert set(result.rows["reason"]) == {ONE_SEED}
    assert by_strategy(result).loc[RACE_ALL, "cost"] == 12 / 32
    assert set(result.means["reason"]) == {"undefined on liver"}


def test_a_source_without_validation_dice_is_never_picked_and_not_trained_on():
    pools = [pool(both(DICE))]
    scores, rungs, validation = frames(pools)
    gone = validation["source"] == "d"
    validation.loc[gone, "dice"] = np.nan
    rungs.loc[rungs["source"] == "d", "dice"] = np.nan
    rows = by_strategy(race_replay(pools, scores, rungs, validation))
    assert rows.loc[[RACE_ALL, FINE_TUNE_ALL], "regret"].tolist() == pytest.approx([0.1, 0.1])
    assert rows.loc[RACE_ALL, "cost"] == (4 + 2 * 1 + 1 * 2 + 1 * 4) / 32
    # a source that fails at the second rung is not trained on after it
    scores, rungs, validation = frames(pools)
    validation.loc[(validation["source"] == "d") & (validation["rung"] != "eighth"), "dice"] = np.nan
    rows = by_strategy(race_replay(pools, scores, rungs, validation))
    assert rows.loc[RACE_ALL, "regret"] == pytest.approx(0.1)


def test_a_source_without_a_score_is_not_picked_by_it():
    rows = by_strategy(replayed(pool(both(DICE)), scores=scored([1, 2, 3, np.nan])))
    assert rows.loc["logme", "regret"] == pytest.approx(0.1)
    rows = by_strategy(replayed(pool(both(DICE)), scores=scored([np.nan] * 4)))
    for name in ("logme", "race the better half by logme"):
        assert np.isnan(rows.loc[name, "regret"])
        assert rows.loc[name, "reason"] == "no source has a score of logme"


def test_a_race_whose_candidates_all_fail_says_so():
    pools = [pool(both(DICE))]
    scores, rungs, validation = frames(pools)
    rows = by_strategy(race_replay(pools, scores, rungs, validation.assign(dice=np.nan)))
    assert np.isnan(rows.loc[RACE_ALL, "regret"])
    assert rows.loc[RACE_ALL, "reason"] == "no candidate of a race has a Dice on the validation cases"


def test_runs_without_the_dice_of_each_case_have_no_races_but_the_rest():
    pools = [pool(both(DICE))]
    scores, rungs, validation = frames(pools, scores=scored(DICE))
    rows = by_strategy(race_replay(pools, scores, rungs, validation.iloc[:0]))
    raced = rows.index.str.startswith("race")
    assert rows.loc[raced, "regret"].isna().all()
    assert set(rows.loc[raced, "reason"]) == {NO_CASES}
    assert (rows.loc[~raced, "regret"] >= 0).all()


def test_a_target_without_validation_cases_has_no_rows_and_a_reason():
    pools = [pool(both(DICE)), pool(both(DICE), target="lung")]
    scores, rungs, validation = frames(pools[:1])
    result = race_replay(pools, scores, rungs, validation)
    assert set(result.rows["target"]) == {"liver"}
    assert result.reasons == {"lung": NO_RUNGS}
    nothing = race_replay(pools, scores, rungs.iloc[:0], validation.iloc[:0])
    assert nothing.rows.empty
    assert nothing.means.empty
    assert nothing.reasons == {"liver": NO_RUNGS, "lung": NO_RUNGS}


def test_runs_tuned_otherwise_are_not_read():
    pools = [pool(both(DICE))]
    scores, rungs, validation = frames(pools)
    recorded, reasons = recorded_pools(pools, scores, rungs.assign(tune="head"), validation)
    assert recorded == []
    assert reasons == {"liver": NO_RUNGS}


def test_the_interval_of_a_mean_is_students_t_over_the_targets():
    def fixed(regret):
        """A strategy that loses `regret` on the liver and three times that on the lung, of two sources."""

        def pick(recorded, _place):
            share = regret * (1 if recorded.pool.target == "liver" else 3)
            return Pick(np.array([share, 1 - share]), 0.5)

        return pick

    pools = [
        RecordedPool(Pool(name, "all", ("a", "b"), (0, 1), both(np.array([0.0, 1.0]))), {})
        for name in ("liver", "lung")
    ]
    strategies = [Strategy("all", StrategyKind.ALL, fixed(0.1)), Strategy("x", StrategyKind.RACE, fixed(0.2))]
    rows = replay(pools, strategies)
    means = mean_rows(rows).set_index("strategy")
    assert means.loc["x", "regret"] == pytest.approx(0.4)
    half = t.ppf(0.975, 1) * sem([0.2, 0.6])
    assert means.loc["x", ["regret_low", "regret_high"]].tolist() == pytest.approx([0.4 - half, 0.4 + half])
    half = t.ppf(0.975, 1) * sem([0.1, 0.3])  # paired: the difference on each target
    assert means.loc["x", ["extra", "extra_low"]].tolist() == pytest.approx([0.2, 0.2 - half])
    assert difference(rows, "x", "all")["regret_high"] == pytest.approx(0.2 + half)
    assert np.isnan(mean_rows(rows[rows["target"] == "liver"])["regret_low"]).all()  # one target has no interval


def test_a_strategy_that_is_undefined_on_a_target_has_no_mean():
    pools = [pool(both(DICE)), pool(both(DICE), target="lung")]
    result = replayed(*pools, scores=scored(DICE))  # the lung has no scores
    means = result.means.set_index("strategy")
    assert np.isnan(means.loc["logme", "regret"])
    assert means.loc["logme", "reason"] == "undefined on lung"
    assert means.loc[RACE_ALL, "reason"] == ""


def test_the_regret_among_strong_sources_stands_beside_that_of_all():
    pools = [pool(both(DICE))]
    means = race_replay(pools, *frames(pools, scores=scored(DICE)), strong={"a", "b", "c"}).means.set_index("strategy")
    assert means.loc[RANDOM, "regret"] == pytest.approx(0.8 - 0.65)
    assert means.loc[RANDOM, "without_weak"] == pytest.approx(0.7 - 0.6)
    assert means.loc[["logme", RACE_ALL], "without_weak"].tolist() == [0, 0]
    assert race_replay(pools, *frames(pools)).means["without_weak"].isna().all()


def test_the_rungs_are_those_that_a_truth_run_measures():
    assert {rung: Fraction(step, RUNGS["full"]) for rung, step in RUNGS.items()} == dict(trainer.RUNGS)
