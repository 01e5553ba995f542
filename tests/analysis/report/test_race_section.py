"""The section on races of the planted study's report: whole with a replay, absent without one, and its CSV."""

from dataclasses import replace

import pandas as pd

from analysis.evaluation.race_replay import NO_RUNGS, RaceReplay
from analysis.report import ReportEvidence, drawings, page, write_report
from analysis.tables.race_tables import race_sentences
from tests.analysis.tables.test_race_tables import KINDS, TARGETS, replayed
from tests.analysis.test_report import Page


def shown(study, race):
    study = replace(study, race=race)
    evidence = ReportEvidence(suite="planted")
    return Page(page(study, evidence, [one for one in drawings(study, evidence) if one.name == "race"]))


def test_the_section_has_the_sentences_the_picture_and_every_strategy(study):
    race = replayed(all=(0.01, 0.0, 0.02), race=(0.013, 0.004, 0.025))
    read = shown(study, race)
    assert {"race", "figure-race"} <= set(read.ids)
    assert len(set(read.ids)) == len(read.ids)
    assert "#race" in read.links
    assert read.open == []
    text = read.text
    places = [text.index(sentence) for sentence in race_sentences(replace(study, race=race))]
    assert places == sorted(places)
    assert "top of static_leaderboard" in text
    assert "By target: regret of each way to pick a source" in text
    [image] = [image for image in read.images if image["alt"].startswith("Regret against cost")]
    assert "race all 1.40" in image["alt"]
    assert "replayed races" in text  # the note with the formula


def test_without_a_replay_there_is_no_section(study):
    read = shown(study, None)
    assert "race" not in read.ids
    assert "#race" not in read.links


def test_targets_that_cannot_be_replayed_are_listed_with_their_reasons(study):
    empty = replayed().rows.iloc[:0]
    read = shown(study, RaceReplay(empty, empty, {"liver": NO_RUNGS}))
    assert "Is a race worth it? No target can be replayed" in read.text
    assert NO_RUNGS in read.text
    assert "figure-race" not in read.ids


def test_the_csv_has_every_target_and_the_means(study, tmp_path):
    write_report(replace(study, race=replayed()), ReportEvidence(suite="planted"), output=tmp_path)
    rows = pd.read_csv(tmp_path / "study" / "planted" / "race.csv")
    assert rows.groupby("strategy")["scope"].value_counts().unstack().loc[list(KINDS)].to_numpy().tolist() == [
        [1, len(TARGETS)]
    ] * len(KINDS)
    assert {"regret", "regret_low", "extra_high", "cost"} <= set(rows.columns)
