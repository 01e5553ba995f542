"""Paired comparisons, corrections for many metrics, ties, gaps, ranks and sub-pools of the planted study."""

import numpy as np
import pytest

from analysis.agreement.corrections import false_discovery, holm
from analysis.evaluation.correlate import correlate
from analysis.evaluation.evaluate import tied_share
from analysis.truth.dispersion import dispersion, rank_table
from analysis.truth.pools import Pool


def test_a_difference_is_that_of_the_table_and_turns_with_its_sides(planted):
    truth, scores, sources = planted
    found = correlate(truth, scores.replace({"metric": {"good": "ccfv"}}), sources, resamples=100)
    rows = found.agreement_of()
    row = found.comparison("ccfv", "static_leaderboard")
    values = rows["weighted_kendall"]
    assert row["difference"] == pytest.approx(values["ccfv"] - values["static_leaderboard"])
    other = found.comparison("static_leaderboard", "ccfv")
    assert (other["low"], other["high"]) == pytest.approx((-row["high"], -row["low"]))
    assert row["probability"] + other["probability"] == pytest.approx(1)
    far = found.comparison("bad", "ccfv", measure="pearson")
    assert far["high"] < 0
    assert far["p"] == pytest.approx(2 / 101)
    assert found.comparison("constant", "ccfv")["reason"] == "constant undefined"
    assert np.isnan(found.comparison("constant", "ccfv")["probability"])


def test_a_paired_difference_is_surer_than_two_intervals(planted):
    # Two metrics that share all their noise differ by little on every draw.
    truth, scores, sources = planted
    near = scores[scores["metric"] == "good"].assign(metric="ccfv")
    near["score"] += 0.001 * np.random.default_rng(0).standard_normal(len(near))
    import pandas as pd

    found = correlate(truth, pd.concat([scores, near]), sources, resamples=200)
    row, alone = found.comparison("good", "ccfv"), found.agreement_of().loc["good"]
    assert row["high"] - row["low"] < (alone["weighted_kendall_high"] - alone["weighted_kendall_low"]) / 4


def test_an_unknown_comparison_is_named(study):
    with pytest.raises(ValueError, match="the study must compare 'good' with 'nothing' on the mean, got 0 rows"):
        study.comparison("good", "nothing")


def test_holm_and_benjamini_hochberg_by_hand():
    # m = 3: 0.01 * 3, 0.02 * 2 and 0.30 * 1; and 0.01 * 3 / 1, 0.02 * 3 / 2, 0.30 * 3 / 3.
    assert holm([0.30, 0.01, 0.02]) == pytest.approx([0.30, 0.03, 0.04])
    assert false_discovery([0.30, 0.01, 0.02]) == pytest.approx([0.30, 0.03, 0.03])
    assert holm([0.5, 0.4]).tolist() == [0.8, 0.8]
    assert np.isnan(holm([np.nan])).all()


def test_the_family_is_the_metrics_of_one_target(study):
    rows = study.agreement_of()
    metrics = rows[rows["kind"] == "metric"]
    defined = metrics["kendall_p"].notna()
    assert metrics["kendall_p_holm"][defined].tolist() == pytest.approx(holm(metrics["kendall_p"][defined]).tolist())
    assert rows.loc[rows["kind"] == "control", ["kendall_p_holm", "kendall_q"]].isna().all(axis=None)
    assert (metrics["kendall_q"][defined] <= metrics["kendall_p_holm"][defined]).all()


def test_ties_are_counted():
    assert tied_share(np.array([1.0, 1.0, 1.0, 2.0])) == 0.5
    assert np.isnan(tied_share(np.array([1.0])))


def test_ties_stand_beside_each_figure(study):
    rows = study.agreement_of()
    assert rows.loc["constant", "score_ties"] == 1
    assert rows.loc["parameters", "score_ties"] == pytest.approx(5 / 11)  # two sizes of six: 2 * 15 pairs of 66
    assert rows.loc["good", "score_ties"] == rows.loc["good", "dice_ties"] == 0


def test_every_gap_is_a_row(study):
    found = study.gaps.set_index("metric")
    assert found.loc["gap"].tolist() == ["metric", "liver", "s03", "class 1 in fewer than two cases"]
    assert found.loc["late"].tolist() == ["metric", "lung", "s05", "no score"]
    assert len(found) == 2


def test_ranks_by_hand():
    pools = [
        Pool("a", "last", ("x", "y", "z"), (0,), np.array([[0.1], [0.2], [0.3]])),
        Pool("b", "last", ("x", "y"), (0,), np.array([[0.5], [0.4]])),
    ]
    found = rank_table(pools).set_index("source")
    assert found["mean_rank"].to_dict() == {"z": 1.0, "x": 2.0, "y": 2.0}
    assert found.loc["x", ["best_rank", "worst_rank"]].tolist() == [1, 3]
    assert found.loc["x", "rank_sd"] == pytest.approx(np.sqrt(2))
    assert np.isnan(found.loc["z", "rank_sd"])
    assert dispersion(pools).rank_sd == pytest.approx(np.sqrt(2) / 2)  # x moves by 2 ranks, y not at all


def test_sub_pools_are_studies_of_their_own(planted, study):
    truth, scores, sources = planted
    small = sources.loc[sources["width"] == 8, "source"]
    own = correlate(truth[truth["source"].isin(small)], scores, sources, resamples=5).agreement_of()
    rows = study.stability[study.stability["division"] == "largest"].set_index("metric")
    assert set(rows["subpool"]) == {"without the largest (6 sources)"}
    for metric in ("good", "bad", "static_leaderboard", "source_dice"):
        assert rows.loc[metric, "weighted_kendall"] == pytest.approx(own.loc[metric, "weighted_kendall"])
    assert rows.loc["gap", "reason"] == ("" if "s03" in set(sources["source"]) - set(small) else "undefined on liver")
    assert set(study.stability["division"]) == {"weak", "largest", "size", "one_source"}


def test_leaving_one_source_out_is_the_pool_without_it(planted, study):
    truth, scores, sources = planted
    own = correlate(truth[truth["source"] != "s07"], scores, sources, resamples=5).agreement_of()
    rows = study.stability.set_index(["subpool", "metric"]).loc["without s07"]
    for measure in ("pearson", "kendall", "weighted_kendall"):
        assert rows.loc["good", measure] == pytest.approx(own.loc["good", measure])
