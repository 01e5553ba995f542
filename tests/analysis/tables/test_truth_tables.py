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
from analysis.tables.truth_tables import gain_table_of, one_seed_note, truth_table
from analysis.tables.verdict import verdict
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
