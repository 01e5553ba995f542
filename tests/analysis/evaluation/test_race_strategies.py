"""The settings of a replayed race: its budget, how many go on after a rung, and how many start."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from analysis.evaluation.race_replay import NO_CASES, RUNGS, RecordedPool
from analysis.evaluation.race_strategies import BUDGET, ETA, race, race_of_best
from analysis.truth.pools import Pool
from benchmark.racing.halving import Race
from benchmark.ranking.default_metrics import DEFAULT_METRICS

CONF = Path(__file__).parents[3] / "conf"
SOURCES = tuple("abcdefgh")
DICE = np.linspace(0.8, 0.1, 8)


def recorded(cases, **settings):
    """A pool of eight sources and two seeds with the same Dice of the validation cases, (n, m), at every rung."""
    cases = np.asarray(cases, dtype=float)
    both = np.stack([cases, cases], axis=1)
    dice = np.stack([DICE, DICE], axis=1)
    pool = Pool("liver", "all", SOURCES, (0, 1), dice)
    return RecordedPool(pool, {rung: both.mean(axis=2) for rung in RUNGS}, dict.fromkeys(RUNGS, both), **settings)


def clear():
    """Dice that differ alike on each of six cases."""
    return recorded(np.tile(DICE[:, None], 6))


def unclear():
    """Dice whose differences vary so much over six cases that no interval is above a gap."""
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, (8, 6))
    return recorded(0.5 + DICE[:, None] / 1000 + noise - noise.mean(axis=1, keepdims=True))


def test_clear_differences_are_decided_by_halving_alone():
    pick = race(clear(), 0, np.arange(8))
    assert pick.shares.tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    assert pick.cost == (8 * 1 + 4 * 1 + 2 * 2 + 1 * 4) / 64


def test_what_cannot_be_told_apart_goes_on_as_far_as_the_budget_allows():
    # After the first rung 6 may go on: 8 + 6 + 3 * 2 + 2 * 4 = 28 of at most 28.8; 7 would take 31.
    assert race(unclear(), 0, np.arange(8)).cost == 28 / 64
    assert 28 / 64 <= BUDGET < 29 / 64
    assert race(unclear(), 0, np.arange(8), budget=0.0).cost == 20 / 64  # halving alone
    assert race(unclear(), 0, np.arange(8), budget=1.0).cost == 1


def test_a_larger_eta_drops_more():
    assert race(clear(), 0, np.arange(8), eta=3).cost == (8 * 1 + 3 * 1 + 1 * 2 + 1 * 4) / 64
    assert race(clear(), 0, np.arange(8), eta=4).cost == (8 * 1 + 2 * 1 + 1 * 2 + 1 * 4) / 64


def test_the_best_by_an_estimate_are_raced():
    pool = recorded(np.tile(DICE[:, None], 6), scores={"logme": np.arange(8.0)}, scoring={"logme": 0.125})
    pick = race_of_best(pool, 1, metric="logme", keep=4)
    assert pick.shares.tolist() == [0, 0, 0, 0, 1, 0, 0, 0]  # the best of e, f, g and h
    assert pick.cost == 0.125 + (4 * 1 + 2 * 1 + 1 * 2 + 1 * 4) / 64
    every = race_of_best(pool, 1, metric="logme", keep=99)
    assert every.cost == 0.125 + 20 / 64


def test_the_better_score_wins_a_tie():
    alike = recorded(np.full((8, 6), 0.5), scores={"logme": np.arange(8.0)}, scoring={"logme": 0.0})
    assert race_of_best(alike, 0, metric="logme", keep=4).shares.argmax() == 7
    assert race(alike, 0, np.arange(8)).shares.argmax() == 0


def test_a_metric_without_scores_and_a_pool_without_cases_have_reasons():
    pick = race_of_best(clear(), 0, metric="logme", keep=4)
    assert pick.reason == "no source has a score of logme"
    assert np.isnan(pick.shares).all()
    assert np.isnan(pick.cost)
    bare = RecordedPool(clear().pool, clear().rungs)
    assert race(bare, 0, np.arange(8)).reason == NO_CASES


def test_the_cost_of_a_race_with_a_single_candidate_is_its_fine_tuning():
    assert race(clear(), 0, np.array([3])).cost == pytest.approx(1 / 8)


def test_races_are_replayed_with_the_settings_of_a_real_race():
    assert yaml.safe_load((CONF / "race.yaml").read_text(encoding="utf-8"))["budget"] == BUDGET
    assert Race([], {}, BUDGET).eta == ETA
    part = yaml.safe_load((CONF / "sensitivity.yaml").read_text(encoding="utf-8"))["parts"]["races"]
    assert tuple(part["metrics"]) == DEFAULT_METRICS
    assert part["race"] == {"eta": [2, 3, 4], "keep": [4, 8, None], "budget": BUDGET}
