"""The tables of the truth: its reliability and ceiling, and what one seed leaves unknown; the gain over scratch."""

import re

import numpy as np
import pandas as pd
import pytest

from analysis.correlate import show
from analysis.csv_files.results import study_facts
from analysis.csv_files.study import study_of_files
from analysis.dashboards.publish import agreement_runs, pair_runs
from analysis.evaluation.correlate import correlate
from analysis.report import ReportEvidence, page
from analysis.report.sections import tiles
from analysis.tables.latex_table import latex_table
from analysis.tables.number_format import UNDEFINED
from analysis.tables.study_tables import study_markdown, study_tables
from analysis.tables.truth_tables import budget_tables, gain_table_of, one_seed_note, truth_table
from analysis.tables.verdict import verdict
from analysis.truth.scratch_budget import LONGER_COLUMNS
from analysis.truth.seed_case_bootstrap import CASE_COLUMNS
from analysis.truth.truth_table import TruthTable

ADVICE = "add seeds with suite.seeds=[0,1,2] (finished runs are kept)."


def cells(table, name):
    return dict(zip(table.columns, next(row for group in table.groups for row in group if row[0] == name), strict=True))


def test_truth_table_comes_first_and_names_the_means(study):
    table = study_tables(study)[0]
    assert table == truth_table(study)
    names = [row[0] for row in table.groups[0]]
    assert names == ["mean", "mean by scan", "mean, without weak", "mean by scan, without weak"]
    assert cells(table, "mean, without weak")["sources x seeds"] == "10 x 4"
    assert [row[0] for row in table.groups[1]] == ["colon", "kidney", "liver", "lung", "spleen"]


def test_reliability_is_also_over_cases_where_they_are_known(planted, study):
    assert "over seeds [95%]" not in truth_table(study).columns
    truth, scores, sources = planted
    rows = [
        (source, target, seed, tune, f"case{case}", "organ", dice + 0.05 * np.cos(7 * case * (place + 1)))
        for place, (source, target, seed, tune, dice) in enumerate(truth.itertuples(index=False))
        for case in range(5)
        if target != "lung"
    ]
    known = correlate(truth, scores, sources, resamples=50, cases=pd.DataFrame(rows, columns=list(CASE_COLUMNS)))
    table, row = truth_table(known), known.reliability_of("liver")
    assert cells(table, "liver")["r Kendall [95%]"].startswith(f"{row['kendall']:.2f} [{row['kendall_low']:.2f}")
    assert cells(table, "liver")["over seeds [95%]"].startswith(f"{row['kendall_over_seeds']:.2f} [")
    assert "Over seeds only: lung." in table.notes
    assert known.reliability_of()["noise"] == "seeds, on some targets also cases"


def test_truth_table_says_whether_choosing_matters(study):
    shown, row = cells(truth_table(study), "liver"), study.reliability_of("liver")
    assert (shown["best - median"], shown["by noise alone"]) == (
        f"{row['best_minus_median']:.3f}",
        f"{row['by_noise']:.3f}",
    )
    assert row["best_minus_median"] > 3 * row["by_noise"]
    assert "choosing a source does not matter" in truth_table(study).notes[0]


def test_gain_comes_above_the_agreement(study):
    tables = study_tables(study)
    assert tables[1] == gain_table_of(study)
    assert tables[2].title.startswith("Agreement with the truth")
    means, targets = tables[1].groups
    assert [row[:2] for row in means] == [("mean", "dynunet")]
    assert [row[0] for row in targets] == ["colon", "kidney", "liver", "lung", "spleen"]
    row = study.gain.iloc[0]
    assert means[0][5] == f"{row['gain']:+.3f} [{row['gain_low']:+.3f}, {row['gain_high']:+.3f}]"


def test_without_scratch_sources_the_gain_is_one_line(planted):
    truth, scores, sources = planted
    trained = sources.assign(length=sources["length"].replace("scratch", "long"))
    table = gain_table_of(correlate(truth, scores, trained, resamples=20))
    assert len(table.rows) == 1
    assert "no pool has a source trained from scratch" in table.rows[0][0]


@pytest.fixture(scope="module")
def longer(planted):
    """The planted study with scratch trained longer: far better on the liver, a little on the others but the colon."""
    truth = planted[0]
    dice = truth[truth["source"] == "s00"].groupby("target")["dice"].mean()
    rows = [("s00", target, 9, "last", dice[target] * (2.0 if target == "liver" else 1.1), 4.0)
            for target in ("liver", "spleen", "lung", "kidney")]  # fmt: skip
    return correlate(*planted, resamples=50, longer=pd.DataFrame(rows, columns=list(LONGER_COLUMNS)))


def test_scratch_after_longer_training_is_shown_next_to_the_gain(longer):
    tables = study_tables(longer)
    assert tables[2:3] == budget_tables(longer)
    assert tables[2].title == "Scratch at the study's budget and after 4 times the steps (tuned: last)"
    shown = cells(tables[2], "liver")
    assert (shown["share"], shown["budget is enough"], shown["remark"]) == ("50.0%", "no", "")
    assert (cells(tables[2], "lung")["share"], cells(tables[2], "lung")["budget is enough"]) == ("90.9%", "yes")
    assert cells(tables[2], "colon")["remark"] == "no run of longer training"
    assert "at least 85%" in tables[2].notes[0]


def test_a_gain_over_starved_scratch_is_not_counted(longer, study):
    table = gain_table_of(longer)
    mean, liver = cells(table, "mean"), cells(table, "liver")
    assert liver["gain [95%]"].startswith(UNDEFINED)
    assert liver["remark"].endswith(
        "5 of 11 sources not counted: dynunet of width 8 from scratch has 50.0% of its Dice after 4 times the steps"
    )
    assert "without liver: " in mean["remark"]
    assert cells(table, "lung")["gain [95%]"][:6] == cells(gain_table_of(study), "lung")["gain [95%]"][:6]
    assert table.notes[-1] == (
        "Targets, architectures and widths whose Dice from scratch is below 85% of that after 4 times the steps: 1 of "
        "4. Their sources are not counted; the others were not checked."
    )


def test_without_longer_training_the_table_says_that_nothing_was_checked(study):
    assert budget_tables(study) == ()
    assert "It was not checked whether the budget is enough" in gain_table_of(study).notes[-1]


def test_a_budget_that_is_too_short_everywhere_leaves_no_gain(planted):
    rows = [("s00", target, 0, "last", 0.95, 4.0) for target in planted[0]["target"].unique()]
    study = correlate(*planted, resamples=20, longer=pd.DataFrame(rows, columns=list(LONGER_COLUMNS)))
    assert gain_table_of(study).rows == [
        (
            "no source is counted: of its architecture and width there is no network from scratch, or one for which "
            "the budget is too short",
        )
    ]


def test_sources_of_several_classes_are_rows_of_their_own(planted):
    truth, scores, sources = planted
    table = gain_table_of(correlate(truth, scores, sources.assign(classes=[0, 1, *[3, 1] * 5]), resamples=20))
    assert [row[:4] for row in table.groups[0]] == [
        ("mean", "dynunet", "all", "5"), ("mean", "dynunet", "several classes", "5")
    ]  # fmt: skip


def test_a_linear_probe_is_called_one(planted):
    truth, scores, sources = planted
    table = truth_table(correlate(truth.assign(tune="head"), scores, sources, resamples=20))
    assert any("linear probe, which favours LogME and H-score" in note for note in table.notes)


def test_a_source_outside_a_pool_is_told(planted):
    truth, scores, sources = planted
    short = truth.drop(truth[(truth["source"] == "s07") & (truth["target"] == "lung") & (truth["seed"] == 3)].index)
    table = truth_table(correlate(short, scores, sources, resamples=20))
    assert "lung: without s07: no Dice with seed 3" in table.notes


@pytest.fixture(scope="module")
def one_seed(planted):
    """The planted study with the first seed only, and the Dice of its test cases."""
    truth, scores, sources = planted
    truth = truth[truth["seed"] == 0]
    rows = [(*row[:4], f"case{case}", "organ", row[4]) for row in truth.itertuples(index=False) for case in range(8)]
    return correlate(truth, scores, sources, resamples=50, cases=pd.DataFrame(rows, columns=list(CASE_COLUMNS)))


def test_one_seed_gives_no_reliability_anywhere_and_says_how_to_add_seeds(one_seed, tmp_path, capsys):
    row = one_seed.reliability_of()
    names = [name for name in row.index if re.match("(kendall|pearson|weighted_kendall)", str(name))]
    assert len(names) > 6
    assert row[names].astype(float).isna().all()  # over test cases as well
    table = truth_table(one_seed)
    assert cells(table, "liver")["r Kendall [95%]"] == UNDEFINED
    assert cells(table, "liver")["ceiling K / P / w"] == f"{UNDEFINED} / {UNDEFINED} / {UNDEFINED}"
    assert sum("One seed per source: no reliability or ceiling can be stated" in note for note in table.notes) == 1
    assert not any("1 seed, at least 2" in note for note in table.notes)
    show(one_seed, [], tmp_path, "planted")
    texts = {
        "terminal": capsys.readouterr().out,
        "page": page(one_seed, ReportEvidence(suite="planted"), []),
        "Markdown": study_markdown(one_seed),
        "verdict": verdict(one_seed).text,
    }
    for place, text in texts.items():
        assert ADVICE in " ".join(text.split()), place
    texts["LaTeX"] = latex_table(one_seed)
    assert "One seed per source, so no reliability or ceiling is stated." in texts["LaTeX"]
    assert "1 seed)" in texts["LaTeX"]
    texts["MLflow"] = agreement_runs(one_seed)[-1].note + pair_runs(one_seed)[0].note
    for place, text in texts.items():
        assert not re.search(r"\bnan\b", text), place
    assert "bars are the standard deviation" not in texts["page"]
    assert tiles(one_seed)[0].value == "unknown"


def test_several_seeds_need_no_advice(study):
    assert one_seed_note(study) == ""
    assert "One seed per source" not in page(study, ReportEvidence(suite="planted"), [])


def test_a_table_without_seeds_has_the_keys_of_one_with_seeds(planted):
    truth, _, sources = planted
    facts = []
    for rows in (truth, truth[truth["seed"] == 0]):
        files = study_of_files(TruthTable("t.csv", rows, None, False), None, sources, resamples=20, seed=0)
        facts.append(study_facts(files)["reliability"])
    assert list(facts[0]) == list(facts[1])
    assert np.isnan(facts[1]["kendall"])
    assert set(facts[1]["undefined"].values()) == {"1 seed, at least 2 are needed"}
    assert "rows with other numbers in the column seed of t.csv." in one_seed_note(files.study)
