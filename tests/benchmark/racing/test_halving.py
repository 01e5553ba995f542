"""Which candidates of a race continue: halving, intervals, budget, failures."""

import math

import numpy as np
import pytest

from benchmark.racing.halving import Drop, Measured, Race, case_contributions, gap_interval, standings_of
from benchmark.training.dice import mean_dice

RUNGS = {"eighth": 1, "quarter": 2, "half": 4, "full": 8}
CASES = 6


def measured(levels, *, noise=0.0, cases=CASES, failed=()):
    """Dice of each candidate on every case: its level, and noise that no two cases share."""
    random = np.random.default_rng(0)
    dice = {name: level + noise * random.normal(size=cases) for name, level in levels.items()}
    return Measured(dice, dict.fromkeys(failed, "its loss is nan"))


def run(levels, **settings):
    """A race whose candidates have the same level at every rung; returns it and what was asked of it."""
    asked = []

    def measure(rung, names):
        asked.append((rung, list(names)))
        return measured({name: levels[name] for name in names}, **settings)

    race = Race(list(levels), RUNGS, budget=0.45)
    race.run(measure)
    return race, asked


def test_clear_differences_halve_the_candidates():
    levels = {name: 0.9 - 0.01 * place for place, name in enumerate("abcdefghij")}
    race, asked = run(levels)
    assert [len(names) for _, names in asked] == [10, 5, 3, 2]
    assert race.leader == "a"
    assert {s.drop for decision in race.decisions for s in decision.standings} == {None, Drop.CLEAR}
    assert race.spent == 10 + 5 + 2 * 3 + 4 * 2  # by hand, of 80
    assert race.spent / race.total <= 0.45


def test_candidates_that_the_cases_do_not_separate_from_the_cut_go_on_within_the_budget():
    levels = {name: 0.5 - 0.001 * place for place, name in enumerate("abcdefghij")}
    race, asked = run(levels, noise=0.2)
    counts = [len(names) for _, names in asked]
    assert counts[0] == 10
    assert sum(counts) > 10 + 5 + 3 + 2
    assert race.spent <= 0.45 * race.total
    kinds = [s.drop for decision in race.decisions for s in decision.standings]
    assert Drop.FORCED in kinds


def test_the_nearest_to_the_cut_go_on_first():
    """By hand: 3 of 5 after the first rung are 16 of 40 steps, 4 are 17, all 5 are 24; the budget is 18."""
    dice = {
        "e": [0.6, 0.0, 0.6, 0.0, 0.6, 0.0],
        "d": [0.7, 0.0, 0.7, 0.0, 0.7, 0.0],
        "a": [1.0, 0.8, 1.0, 0.8, 1.0, 0.8],
        "b": [0.1, 0.9, 0.9, 0.9, 0.9, 0.9],
        "c": [0.9, 0.0, 0.9, 0.0, 0.9, 0.0],
    }
    asked = []

    def measure(rung, names):
        asked.append(sorted(names))
        return Measured({name: np.array(dice[name]) for name in names})

    race = Race(list(dice), RUNGS, budget=0.45)
    race.run(measure)
    assert asked[1] == ["a", "b", "c", "d"]
    assert {s.name: s.drop for s in race.decisions[0].standings}["e"] == Drop.FORCED


def test_too_few_validation_cases_force_every_drop():
    race, _ = run({"a": 0.9, "b": 0.1, "c": 0.5, "d": 0.2}, cases=4)
    drops = {s.drop for decision in race.decisions for s in decision.standings} - {None}
    assert drops == {Drop.NO_INTERVAL}
    assert all(math.isinf(s.low) for s in race.decisions[0].standings[1:])


def test_a_failed_candidate_is_last_and_takes_no_place():
    def measure(rung, names):
        alive = [name for name in names if name != "bad"]
        return measured({name: {"a": 0.9, "b": 0.8, "c": 0.1}[name] for name in alive}, failed=set(names) - set(alive))

    race = Race(["bad", "a", "b", "c"], RUNGS, budget=0.45)
    assert race.run(measure) == "a"
    first = race.decisions[0]
    assert [s.name for s in first.standings] == ["a", "b", "c", "bad"]
    assert first.standings[-1].drop == Drop.FAILED
    assert first.standings[-1].reason == "its loss is nan"
    assert first.survivors == ["a", "b"]


def test_if_every_candidate_fails_there_is_no_winner():
    race = Race(["a", "b"], RUNGS, budget=0.45)
    assert race.run(lambda rung, names: Measured({}, dict.fromkeys(names, "no memory"))) is None
    assert race.leader is None
    assert len(race.decisions) == 1


def test_a_candidate_without_dice_on_any_case_has_failed():
    standings = standings_of(Measured({"a": np.array([0.5, np.nan]), "b": np.full(2, np.nan)}))
    assert [(s.name, s.drop) for s in standings] == [("a", None), ("b", Drop.FAILED)]
    assert standings[0].dice == 0.5


def test_one_candidate_is_trained_to_the_end():
    race, asked = run({"a": 0.5})
    assert [names for _, names in asked] == [["a"]] * 4
    assert race.spent == race.total == 8


def test_a_stopped_race_keeps_its_leader():
    def measure(rung, names):
        if rung == "half":
            raise KeyboardInterrupt
        return measured({name: {"a": 0.3, "b": 0.6, "c": 0.5}[name] for name in names})

    race = Race(["a", "b", "c"], RUNGS, budget=0.45)
    with pytest.raises(KeyboardInterrupt):
        race.run(measure)
    assert race.leader == "b"
    assert [decision.rung for decision in race.decisions] == ["eighth", "quarter"]


@pytest.mark.parametrize("count", range(2, 21))
def test_the_budget_holds_whatever_the_number_of_candidates(count):
    """Halving alone may need more than the budget for few candidates; then nothing beyond it is spent."""
    levels = {str(place): 0.5 for place in range(count)}
    race, _ = run(levels, noise=0.3)
    assert race.spent <= max(0.45 * race.total, Race(list(levels), RUNGS, 0.45).remaining(count))


def test_the_interval_is_students():
    """Analytic: differences 0.1 and 0.3, five each: mean 0.2, standard error 0.1 / 3, t(0.975, 9) = 2.2622."""
    dice = {"best": np.array([0.5] * 10), "other": np.array([0.4, 0.2] * 5)}
    low, high = gap_interval(dice, "best", "other")
    assert low == pytest.approx(0.2 - 2.262157 / 30, abs=1e-6)
    assert high == pytest.approx(0.2 + 2.262157 / 30, abs=1e-6)


def a_and_b_fail(dice, asked):
    """Measures candidates by the Dice of each case; `a` and `b` fail after the first rung."""

    def measure(rung, names):
        asked.append((rung, list(names)))
        good = [name for name in names if rung == "eighth" or name not in "ab"]
        return Measured({name: np.array(dice[name]) for name in good}, {n: "nan" for n in names if n not in good})

    return measure


def test_if_all_survivors_fail_a_dropped_candidate_comes_back():
    """`a` and `b` fail at the second rung; `c` was dropped by force, `d` clearly."""
    dice = {"a": [0.9, 0.8, 0.9, 0.8, 0.9], "b": [0.8, 0.9, 0.8, 0.9, 0.8], "c": [0.4, 0.9, 0.9, 0.9, 0.9],
            "d": [0.1, 0.1, 0.1, 0.1, 0.2]}  # fmt: skip
    race, asked = Race(list(dice), RUNGS, budget=0.1), []
    assert race.run(a_and_b_fail(dice, asked)) == "c"
    assert [sorted(names) for _, names in asked[:3]] == [["a", "b", "c", "d"], ["a", "b"], ["a", "b", "c"]]
    assert race.decisions[1].spent == 4 + 2 + 2  # `c` is trained from its start


def fails_at(fates, asked, *, reason="nan"):
    """Measures candidates, the first the best; each fails at its rung in `fates`, with NaN if there is no reason."""

    def measure(rung, names):
        asked.append((rung, list(names)))
        bad = [name for name in names if fates.get(name) == rung]
        lost = {name: np.full(CASES, np.nan) for name in bad if not reason}
        sound = measured({name: 0.9 - 0.1 * "abcdef".index(name) for name in names if name not in bad})
        return Measured(lost | dict(sound.dice), dict.fromkeys(bad, reason) if reason else {})

    return measure


@pytest.mark.parametrize("reason", ["nan", ""])
def test_a_candidate_comes_back_once_and_a_failed_one_never(reason):
    """By hand: 6 + 3 steps; d and e come back for 2 each, e continues for 2 and fails, f comes back for 4 and 4."""
    asked = []
    fates = dict.fromkeys("abcd", "quarter") | {"e": "half"}
    race = Race(list("abcdef"), RUNGS, budget=0.1)
    assert race.run(fails_at(fates, asked, reason=reason)) == "f"
    assert asked[1:5] == [
        ("quarter", ["a", "b", "c"]), ("quarter", ["a", "b", "c", "d"]), ("quarter", ["a", "b", "c", "d", "e"]),
        ("half", ["e"]),
    ]  # fmt: skip
    assert [names for rung, names in asked if rung == "half"] == [["e"], ["e", "f"]]
    assert [decision.spent for decision in race.decisions] == [6, 13, 19, 23]


def test_the_last_standing_of_a_candidate_that_came_back_is_its_latest():
    asked = []
    race = Race(list("abc"), RUNGS, budget=0.1)
    assert race.run(fails_at({"a": "quarter", "b": "quarter"}, asked)) == "c"
    last = race.last_standings
    assert list(last) == ["c", "a", "b"]
    assert [standing.drop for standing in last.values()] == [None, Drop.FAILED, Drop.FAILED]


def test_forced_drops_come_back_before_clear_ones():
    """`c` is dropped clearly and `d`, though further behind, by force: its Dice varies too much for an interval."""
    dice = {"a": [0.9] * 5 + [0.9], "b": [0.89] * 6, "c": [0.5] * 6, "d": [0.0, 0.9, 0.0, 0.9, 0.0, 0.9]}
    race, asked = Race(list(dice), RUNGS, budget=0.1), []
    race.run(a_and_b_fail(dice, asked))
    first = {standing.name: standing.drop for standing in race.decisions[0].standings}
    assert (first["c"], first["d"]) == (Drop.CLEAR, Drop.FORCED)
    assert asked[2] == ("quarter", ["a", "b", "d"])


def test_the_mean_of_contributions_is_the_mean_over_classes_of_means_over_cases():
    random = np.random.default_rng(3)
    dice = random.uniform(size=(7, 3))
    dice[random.uniform(size=(7, 3)) < 0.4] = np.nan
    dice[2] = np.nan  # a case without foreground
    contributions = case_contributions(dice[None])
    assert np.nanmean(contributions) == pytest.approx(mean_dice(dice.tolist()))
    assert np.isnan(contributions).tolist() == [place == 2 for place in range(7)]


def test_with_all_classes_in_all_cases_a_contribution_is_the_mean_over_classes_and_seeds():
    dice = np.random.default_rng(4).uniform(size=(2, 6, 3))
    np.testing.assert_allclose(case_contributions(dice), dice.mean(axis=(0, 2)))


def test_a_seed_without_a_value_counts_for_nothing():
    """nnU-Net's Dice of a class that is absent from a case is 0 where a seed predicts it, and NaN where it does not."""
    assert case_contributions(np.array([[[0.5], [np.nan]], [[0.7], [0.0]]])).tolist() == pytest.approx([0.6, 0.0])
    assert np.isnan(case_contributions(np.full((2, 3, 2), np.nan))).all()
