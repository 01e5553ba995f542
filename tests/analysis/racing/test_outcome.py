"""A race in words, tables, CSV, JSON and a page: from a race whose measurements are written down."""

import io
import json

import numpy as np
import pandas as pd
import pytest

from analysis.racing.outcome import CAUTION, LOSSES, POINTS, RaceOutcome, rung_rows
from analysis.racing.page import race_figure, race_page
from analysis.racing.tables import course_table, race_csv, race_json, race_tables
from benchmark.racing.halving import Measured, Race

RUNGS = {"eighth": 1, "quarter": 2, "half": 4, "full": 8}
LEVELS = {"a": 0.9, "b<i>$x$": 0.7, "c": 0.5}
ESTIMATES = pd.DataFrame({"source": ["c", "a"], "place": [1, 2], "standing": [0.8, 0.6]})


def outcome(*, fails=("c",), cases=6, stop=None, levels=LEVELS, late=(), seeds=(0,), **settings):
    """A race; candidates in `fails` fail at once, those in `late` at the second rung."""
    race = Race(list(levels), RUNGS, budget=0.45)

    def measure(rung, names):
        if rung == stop:
            raise KeyboardInterrupt
        good = [name for name in names if name not in fails and (rung == "eighth" or name not in late)]
        noise = np.linspace(-0.01, 0.01, cases)
        return Measured({n: levels[n] + noise * (1 + i) for i, n in enumerate(good)},
                        {n: "out of memory in its training" for n in names if n not in good})  # fmt: skip

    try:
        race.run(measure)
    except KeyboardInterrupt:
        settings["stopped"] = "interrupted"
    points = [(s.name, seed, d.rung, d.step, 10.0 * d.step, 0.5, s.dice) for d in race.decisions for s in d.standings
              for seed in seeds if np.isfinite(s.dice)]  # fmt: skip
    losses = [(name, 0, step, 1.0 / step) for name in {point[0] for point in points} for step in (1, 2)]
    return RaceOutcome(
        task="spleen",
        race=race,
        seeds=seeds,
        train_cases=10,
        validation_cases=6,
        scored_cases=cases,
        losses=pd.DataFrame(losses, columns=list(LOSSES)),
        points=pd.DataFrame(points, columns=list(POINTS)),
        **{"estimates": ESTIMATES, "notes": ("a note",)} | settings,
    )


def test_the_verdict_names_winner_drops_and_cost():
    verdict = outcome().verdict()
    assert verdict.startswith("a wins with a validation Dice of 0.900; dropped: 1 clear; 1 candidate failed.")
    # by hand: 3 of one step, then 1 of 1, 2 and 4 steps: 10 of 24
    assert "The race took 10 steps, 42% of fine-tuning all 3 candidates." in verdict


def test_a_stopped_race_has_a_leader_and_no_winner():
    stopped = outcome(stop="half")
    assert "a leads with a validation Dice of 0.900 after 2 of 8 steps (interrupted)" in stopped.verdict()
    content = json.loads(race_json(stopped, {}))
    assert (content["winner"], content["leader"]) == (None, "a")


def test_without_any_sound_candidate_there_is_no_winner_and_no_caution():
    none = outcome(fails=tuple(LEVELS))
    assert none.verdict() == "No candidate could be fine-tuned."
    assert CAUTION not in course_table(none).notes
    assert CAUTION in course_table(outcome()).notes
    assert "No candidate could be fine-tuned." in race_page(none)


def test_the_estimates_are_compared_with_the_first_rung():
    said = race_tables(outcome(fails=()))[1]
    assert said.columns == ("place in the ranking", "source", "standing", "validation Dice after 1/8 of the steps")
    assert said.rows == [("1", "c", "0.8", "0.500"), ("2", "a", "0.6", "0.900")]
    assert said.notes == ("Kendall's tau-b between score and validation Dice after 1/8 of the steps: undefined.",)


def test_too_few_cases_with_foreground_are_said_in_the_words_of_the_table():
    """Of 6 validation cases 3 are empty."""
    few = outcome(cases=3, fails=())
    assert "dropped: 2 forced (no interval)." in few.verdict()
    assert "With 3 validation cases that have foreground no interval can be computed, so every drop" in few.verdict()
    assert {row["drop"] for row in rung_rows(few)} == {"", "forced (no interval)"}
    assert "no interval" not in outcome().verdict()


def test_the_verdict_on_one_candidate_says_only_who_it_is():
    one = outcome(levels={"a": 0.9}, fails=(), cases=3)
    assert one.verdict() == "a wins with a validation Dice of 0.900."


def test_a_candidate_that_came_back_and_won_was_not_dropped():
    back = outcome(fails=(), late=("a", "b<i>$x$"))
    assert back.verdict().startswith("c wins with a validation Dice of 0.500; 2 candidates failed.")
    panels = race_figure(back).axes
    crosses = [line for line in panels[0].lines if line.get_marker() == "x"]
    assert len(crosses) == 2  # of the two that failed


def test_a_failed_candidate_is_below_every_sound_one():
    """`a` and `b` fail at the second rung; `d` was dropped at the first one."""
    rows = rung_rows(outcome(levels=LEVELS | {"d": 0.3}, fails=(), late=("a", "b<i>$x$")))
    assert [row["source"] for row in rows] == ["c", "d", "a", "b<i>$x$"]


def test_steps_are_those_of_all_seeds_everywhere():
    """By hand: 3 of one step, then 1 of 1, 2 and 4 steps: 10 of 24, and twice that for two seeds."""
    two = outcome(seeds=(0, 1))
    content = json.loads(race_json(two, {}))
    assert content["steps"] == {"race": 20, "fine_tuning_all": 48, "share": 10 / 24}
    assert content["decisions"][-1]["spent"] == 20
    assert "The race took 20 steps" in two.verdict()
    assert [row[1] for row in race_tables(two)[-1].rows] == ["20", "48"]
    assert rung_rows(two)[0]["steps"] == 16
    assert rung_rows(two)[0]["seconds"] == 2 * 79.5


def test_without_a_ranking_there_is_no_column_of_its_places():
    unranked = outcome(estimates=pd.DataFrame({"source": [], "place": []}))
    assert "place in the ranking" not in course_table(unranked).columns
    assert "place in the ranking" in course_table(outcome()).columns


def test_the_curves_of_many_candidates_differ():
    levels = {f"net_{place}": 0.9 - 0.01 * place for place in range(20)}
    against_steps, _, loss = race_figure(outcome(levels=levels, fails=())).axes
    points = [line for line in against_steps.lines if line.get_marker() not in ("x", "None")]
    for lines in (points, loss.lines):
        looks = {(line.get_color(), line.get_linestyle()) for line in lines}
        assert len(looks) == len(lines) == 20


def test_rows_are_in_the_final_order_with_what_each_rung_gave():
    rows = rung_rows(outcome())
    assert [row["source"] for row in rows] == ["a", "b<i>$x$", "c"]
    assert [row["drop"] for row in rows] == ["", "clear", "failed"]
    assert rows[1]["dropped"] == rows[2]["dropped"] == "eighth"
    assert rows[1]["dice/eighth"] == pytest.approx(0.7)
    assert np.isnan(rows[1]["dice/quarter"])
    assert rows[2]["reason"] == "out of memory in its training"
    assert (rows[0]["steps"], rows[2]["steps"]) == (8, 0)


def test_seconds_are_those_of_training_and_validation_at_each_candidate_s_own_speed():
    done = outcome()
    # of each point half a second is validation: 4 of `a`, 1 of `b`
    assert done.seconds() == (79.5 + 4 * 0.5) + (9.5 + 0.5)
    assert done.seconds_of_all() == (79.5 + 0.5) + (9.5 * 8 + 0.5)


def test_csv_json_and_page_say_the_same_and_escape_names():
    done = outcome()
    table = pd.read_csv(io.StringIO(race_csv(done)))
    assert list(table["source"]) == ["a", "b<i>$x$", "c"]
    assert list(table["place_in_ranking"].fillna(0)) == [2, 0, 1]
    content = json.loads(race_json(done, {"command": []}))
    assert content["winner"] == "a"
    assert content["candidates"][2]["dice/eighth"] is None
    page = race_page(done)
    assert "b&lt;i&gt;$x$" in page
    assert "<i>$x$" not in page
    assert page.count("data:image/png;base64") == 1
    assert [table.title for table in race_tables(done)] == [
        "spleen: race of 3 candidates, 10 training cases, 6 validation cases", "what the estimates had said", "cost",
    ]  # fmt: skip


def test_the_legend_names_a_candidate_that_begins_with_an_underscore():
    figure = race_figure(outcome(levels={"_a": 0.9, "b$x$": 0.7}, fails=()))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [" _a", r"b\$x\$"]
