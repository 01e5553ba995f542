"""A race in words, tables, CSV, JSON and a page: from a race whose measurements are written down."""

import io
import json

import numpy as np
import pandas as pd
import pytest

from analysis.racing.outcome import CAUTION, LOSSES, POINTS, RaceOutcome, rung_rows
from analysis.racing.page import race_page
from analysis.racing.tables import course_table, race_csv, race_json, race_tables
from benchmark.racing.halving import Measured, Race

RUNGS = {"eighth": 1, "quarter": 2, "half": 4, "full": 8}
LEVELS = {"a": 0.9, "b<i>$x$": 0.7, "c": 0.5}


def outcome(*, fails=("c",), cases=6, stop=None, **settings):
    race = Race(list(LEVELS), RUNGS, budget=0.45)

    def measure(rung, names):
        if rung == stop:
            raise KeyboardInterrupt
        good = [name for name in names if name not in fails]
        noise = np.linspace(-0.01, 0.01, cases)
        return Measured({n: LEVELS[n] + noise * (1 + i) for i, n in enumerate(good)},
                        {n: "out of memory in its training" for n in names if n in fails})  # fmt: skip

    try:
        race.run(measure)
    except KeyboardInterrupt:
        settings["stopped"] = "interrupted"
    points = [(s.name, 0, d.rung, d.step, 10.0 * d.step, 0.5, s.dice) for d in race.decisions for s in d.standings
              if np.isfinite(s.dice)]  # fmt: skip
    losses = [(name, 0, step, 1.0 / step) for name in {point[0] for point in points} for step in (1, 2)]
    return RaceOutcome(
        task="spleen",
        race=race,
        seeds=(0,),
        train_cases=10,
        validation_cases=cases,
        losses=pd.DataFrame(losses, columns=list(LOSSES)),
        points=pd.DataFrame(points, columns=list(POINTS)),
        estimates=pd.DataFrame({"source": ["c", "a"], "place": [1, 2], "standing": [0.8, 0.6]}),
        notes=("a note",),
        **settings,
    )


def test_the_verdict_names_winner_drops_and_cost():
    verdict = outcome().verdict()
    assert verdict.startswith(
        "a wins with a validation Dice of 0.900; 1 candidate dropped clearly, 1 candidate failed."
    )
    # by hand: 3 of one step, then 1 of 1, 2 and 4 steps: 10 of 24
    assert "The race took 10 steps, 42% of fine-tuning all 3." in verdict


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
    assert said.columns == ("place in the ranking", "source", "standing", "validation Dice at eighth")
    assert said.rows == [("1", "c", "0.8", "0.500"), ("2", "a", "0.6", "0.900")]
    assert said.notes == ("Kendall's tau-b between score and validation Dice at eighth: undefined.",)


def test_too_few_cases_are_said():
    assert "With 3 validation cases no interval can be computed: every drop was forced" in outcome(cases=3).verdict()


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
