"""A finished bench says whether a race is worth it: on the terminal, in a section of the report, and as CSV."""

import pandas as pd
import pytest

from analysis.evaluation.race_replay import NO_CASES
from benchmark.storage.files import read_json
from tests.command_fixtures import CHOSEN


def race_rows(folder):
    return pd.read_csv(folder / "outputs" / "study" / "synthetic" / "race.csv")


def test_the_section_its_picture_and_its_table_are_in_the_report(bench):
    place, done = bench
    html = (place.folder / "outputs" / "report.html").read_text(encoding="utf-8")
    section = html.partition('<section id="race">')[2].partition("</section>")[0]
    assert "Is a race worth it?" in section
    assert 'id="figure-race"' in section
    for name in ("race all", "race the better half by logme", "short fine-tuning, 1/8", "top of ccfv", "random pick"):
        assert name in section
    [sentence] = [line for line in done.stdout.splitlines() if line.startswith("Racing all sources costs ")]
    assert sentence in html
    assert '<a href="#race">Race</a>' in html


def test_the_costs_are_those_of_halving_and_of_one_fine_tuning(bench):
    rows = race_rows(bench[0].folder)
    targets = rows[rows["scope"] == "target"].set_index(["target", "strategy"])
    assert set(rows.loc[rows["scope"] == "target", "target"]) == {"synthetic_ball", "synthetic_pebble"}
    for target, sources in targets.xs("race all", level="strategy")["sources"].items():
        alive = [sources, -(-sources // 2), -(-sources // 4), -(-sources // 8)]  # two validation cases: only halving
        expected = sum(count * steps for count, steps in zip(alive, (1, 1, 2, 4), strict=True)) / (8 * sources)
        assert targets.loc[(target, "race all"), "cost"] == pytest.approx(expected)
        assert targets.loc[(target, "random pick"), "cost"] == pytest.approx(1 / sources)
        assert targets.loc[(target, "logme"), "cost"] > 1 / sources  # the measured scoring, too
    assert (targets["regret"].dropna() >= 0).all()
    assert targets.xs("race all", level="strategy")["regret"].notna().all()


def test_runs_without_the_dice_of_validation_cases_have_no_race_and_a_reason(again, command_line, monkeypatch):
    def read_old(path):
        stored = read_json(path)
        stored.pop("validation", None)  # as in runs of older versions
        return stored

    monkeypatch.setattr("analysis.truth.load.read_json", read_old)
    monkeypatch.setattr("analysis.correlate.publish", lambda *_, **__: None)  # its runs take most of the time
    done = command_line("correlate", "experiment=synthetic", CHOSEN, "seed=1", "resamples=20", *again.overrides)
    assert done.code == 0, done.err
    assert f"Whether a race is worth it is not known: {NO_CASES}." in done.out
    rows = race_rows(again.folder).set_index("strategy")
    assert rows.loc["race all", "regret"].isna().all()
    assert rows.loc["fine-tune all", "regret"].notna().all()
