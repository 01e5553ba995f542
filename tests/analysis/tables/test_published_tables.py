"""The paper's figures next to ours: every method, target and mean, and only on the paper's targets."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.evaluation.correlate import correlate
from analysis.published import ABLATION, PUBLISHED, published_ablation, published_agreement, published_path
from analysis.report import ReportEvidence, page
from analysis.tables.published_tables import PRINTED_NOTE, published_tables
from analysis.tables.study_tables import result_table, study_latex, study_tables

FOLDERS = {"liver": "Task03_Liver", "lung": "Task06_Lung", "kidney": "Task07_Pancreas", "spleen": "Task09_Spleen"}
MSD = FOLDERS | {"colon": "Task10_Colon"}
DASH = "–"  # noqa: RUF001
ROUNDING = 5e-5  # of four digits


@pytest.fixture(scope="module")
def on_msd(planted):
    """The planted study on the paper's targets, with CC-FV, KL in place of W2, and a GBC that is undefined."""
    truth, scores, sources = planted
    names = {"good": "ccfv", "bad": "ccfv_kl", "gap": "gbc"}
    return correlate(truth, scores.replace({"metric": names}), sources, resamples=20, scans=MSD)


def rows_of(table):
    return {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}


def test_every_method_target_and_mean_has_both_figures(on_msd):
    weighted, pearson = published_tables(on_msd)
    assert list(rows_of(weighted)) == ["ccfv", "gbc", "leep", "transrate", "logme", *ABLATION]
    assert list(rows_of(pearson)) == ["ccfv", "gbc", "leep", "transrate", "logme"]
    printed = pd.concat([published_agreement(), published_ablation()]).set_index(["metric", "target"])
    for measure, table in (("weighted_kendall", weighted), ("pearson", pearson)):
        assert len(table.columns) == 2 + 2 * (1 + len(MSD))
        for name, row in rows_of(table).items():
            ours = on_msd.agreement_targets(name)[measure]
            assert row["mean published"] == f"{printed.loc[(name, 'mean'), measure]:.4f}"
            for target, folder in MSD.items():
                assert row[f"{target} published"] == f"{printed.loc[(name, folder), measure]:.4f}"
                value = ours.get(target, np.nan)
                assert row[f"{target} ours"] == (DASH if np.isnan(value) else f"{value:.4f}")
    mean = float(rows_of(weighted)["ccfv"]["mean ours"])
    assert mean == pytest.approx(on_msd.agreement_of().loc["ccfv", "weighted_kendall"], abs=ROUNDING)
    shown = rows_of(weighted)["gbc"]
    assert (shown["liver ours"], shown["mean ours"], shown["liver published"]) == (DASH, DASH, "0.1233")


def test_notes_say_what_is_not_scored_and_what_is_printed_wrongly(on_msd):
    notes = published_tables(on_msd)[0].notes
    assert any(note.startswith("Not scored in this study: logme, transrate, leep, ccfv_consistency") for note in notes)
    assert PRINTED_NOTE in notes
    single = pd.read_csv(published_path("ccfv_table2")).query("variant == 'single scale'").set_index("target")
    assert single.loc["mean", "weighted_kendall"] == 0.4341
    assert single["weighted_kendall"].drop("mean").mean() == pytest.approx(0.4350, abs=ROUNDING)


def test_terminal_page_and_latex_have_the_tables(on_msd):
    titles = [table.title for table in published_tables(on_msd)]
    assert [table.title for table in study_tables(on_msd)][-2:] == titles
    assert all(title in study_latex(on_msd) for title in titles)
    text = page(on_msd, ReportEvidence(suite="paper"), [])
    assert all(f"<caption>{title.replace(chr(39), '&#39;')}</caption>" in text for title in titles)


def test_fewer_targets_are_named_and_other_targets_have_no_table(on_msd, study):
    four = replace(on_msd, scans=FOLDERS | {"colon": "another scan"})
    [weighted, _] = published_tables(four)
    assert "colon ours" not in weighted.columns
    assert "The mean of ours is over 4 targets, the published mean over 5." in weighted.notes
    values = on_msd.agreement_targets("ccfv")["weighted_kendall"].drop("colon")
    assert float(rows_of(weighted)["ccfv"]["mean ours"]) == pytest.approx(values.mean(), abs=ROUNDING)
    assert published_tables(study) == ()


def test_the_means_are_those_of_table_1_for_all_five_methods():
    assert PUBLISHED["ccfv"] == {"pearson": 0.7003, "weighted_kendall": 0.4986}
    assert set(PUBLISHED) == {"ccfv", "gbc", "leep", "logme", "transrate"}
    assert set(published_ablation()["metric"]) == set(ABLATION)


def test_scores_of_files_are_compared_with_no_paper_and_have_no_cost(on_msd):
    assert {"paper", "cost [s]"} <= set(result_table(on_msd).columns)
    files = replace(on_msd, truth_from="t.csv", agreement=on_msd.agreement.assign(seconds=np.nan))
    assert not {"paper", "cost [s]"} & set(result_table(files).columns)
    assert published_tables(files) == ()
