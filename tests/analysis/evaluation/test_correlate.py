"""The planted study: each metric gets what was planted, and every gap is said."""

import warnings

import numpy as np
import pandas as pd
import pytest

from analysis.agreement.rank_measures import weighted_kendall
from analysis.evaluation.correlate import correlate
from analysis.evaluation.study import WITHOUT_WEAK
from analysis.truth.pools import Scope

ROUNDING = 1e-12  # where all resamples agree wholly, the ends are 1 up to the last digits
HEADLINE = ("pearson", "kendall", "weighted_kendall")


def test_the_truth_plus_noise_agrees_and_its_negative_disagrees_as_much(study):
    rows = study.agreement_of()
    for measure in HEADLINE:
        assert 0.7 < rows.loc["good", measure] < 1
    assert rows.loc["bad", "pearson"] == pytest.approx(-rows.loc["good", "pearson"])
    assert rows.loc["bad", "kendall"] == pytest.approx(-rows.loc["good", "kendall"])
    assert rows.loc["good", "weighted_kendall_p"] == pytest.approx(1 / 301)
    assert rows.loc["bad", "weighted_kendall_p"] == 1


def test_a_constant_is_undefined_everywhere_with_the_reason(study):
    rows = study.agreement_targets("constant")
    assert rows["weighted_kendall"].isna().all()
    assert set(rows["reason"]) == {"all scores are alike"}
    mean = study.agreement_of().loc["constant"]
    assert np.isnan(mean["pearson"])
    assert mean["reason"] == "undefined on colon, kidney, liver, lung, spleen"


def test_a_nan_is_never_dropped_silently(study):
    rows = study.agreement_targets("gap")
    assert rows["weighted_kendall"].isna().to_dict() == {
        "colon": False, "kidney": False, "liver": True, "lung": False, "spleen": False,
    }  # fmt: skip
    reason = "no score for 1 of 12 sources: s03 (class 1 in fewer than two cases)"
    assert rows.loc["liver", "reason"] == reason
    assert rows.loc["liver", "counted"] == 11
    assert study.agreement_of().loc["gap", "reason"] == "undefined on liver"


def test_a_missing_row_is_a_missing_score(study):
    rows = study.agreement_targets("late")
    assert rows.loc["lung", "reason"] == "no score for 1 of 12 sources: s05 (no score)"
    assert rows["weighted_kendall"].isna().sum() == 1


def test_left_out_sources_are_counted_and_named(planted):
    truth, scores, _ = planted
    found = correlate(*planted, resamples=50, missing="leave_out")
    row = found.agreement_targets("gap").loc["liver"]
    here = scores[(scores["metric"] == "gap") & (scores["target"] == "liver") & (scores["source"] != "s03")]
    dice = truth[truth["target"] == "liver"].groupby("source")["dice"].mean()
    assert row["weighted_kendall"] == pytest.approx(weighted_kendall(here["score"], dice[here["source"]]))
    assert row["counted"] == 11
    assert "s03 (class 1 in fewer than two cases)" in row["reason"]
    mean = found.agreement_of().loc["gap"]
    assert mean["weighted_kendall"] > 0.7
    assert mean["reason"] == "without some sources on liver"


def test_the_static_leaderboard_is_all_but_perfect(study):
    # The source effect is the same on every target; what is left is the noise of the seeds, as for a perfect predictor.
    rows = study.agreement_of()
    assert rows.loc["static_leaderboard", "kendall_share"] == pytest.approx(1, abs=0.03)
    assert rows.loc["static_leaderboard", "weighted_kendall"] > rows.loc["good", "weighted_kendall"]
    assert rows.loc["static_leaderboard", "kind"] == "control"


def test_means_are_means_of_the_targets(study):
    rows, means = study.agreement_targets("good"), study.agreement_of()
    assert list(rows.index) == [pool.target for pool in study.pools]
    for measure in (*HEADLINE, "ndcg", "top1_regret"):
        assert means.loc["good", measure] == pytest.approx(rows[measure].mean())
    by_scan = study.agreement_of(mean=Scope.MEAN_BY_SCAN).loc["good"]
    abdomen = rows.loc[["liver", "spleen"], "kendall"].mean()
    assert by_scan["kendall"] == pytest.approx(np.mean([abdomen, *rows.loc[["colon", "kidney", "lung"], "kendall"]]))
    assert by_scan["targets"] == 5


@pytest.mark.parametrize("name", ["agreement", "reliability", "comparisons"])
def test_a_row_says_whether_it_is_a_target_or_a_mean(study, name):
    rows = getattr(study, name)
    targets = rows[rows["scope"] == Scope.TARGET]["target"]
    assert set(targets) == {pool.target for pool in study.pools}
    assert set(rows[rows["scope"] != Scope.TARGET]["target"]) == {""}
    assert set(rows["scope"]) == set(Scope)


def test_intervals_hold_their_value(study):
    rows = study.agreement[study.agreement["metric"].isin(["good", "bad", "static_leaderboard"])]
    for measure in HEADLINE:
        assert (rows[f"{measure}_low"] <= rows[measure] + ROUNDING).all()
        assert (rows[measure] <= rows[f"{measure}_high"] + ROUNDING).all()


def test_reliability_and_ceiling_stand_beside_each_figure(study):
    truth, rows = study.reliability_of(), study.agreement_of()
    for measure in HEADLINE:
        assert truth[f"{measure}_low"] <= truth[measure] <= truth[f"{measure}_high"]
        assert truth[measure] < truth[f"{measure}_ceiling"] <= 1  # half of the seeds against all of them
        assert (rows[f"{measure}_ceiling"] == truth[f"{measure}_ceiling"]).all()
    shares = rows["kendall_share"].dropna()
    assert shares["good"] == pytest.approx(rows.loc["good", "kendall"] / truth["kendall_ceiling"])


def test_weak_sources_are_also_left_out(study):
    assert study.reliability_of(subset=WITHOUT_WEAK)["sources"] == 10
    rows = study.agreement_of(subset=WITHOUT_WEAK)
    assert (rows["sources"] == 10).all()
    assert set(rows.index) == set(study.agreement_of().index)


def test_what_is_tuned_otherwise_stands_beside(planted):
    truth, scores, sources = planted
    extra = truth[truth["target"] == "liver"].assign(tune="all")
    found = correlate(pd.concat([truth, extra]), scores, sources, resamples=50)
    assert found.tune == "last"
    assert [pool.target for pool in found.other_pools] == ["liver"]
    beside = found.agreement[found.agreement["tune"] == "all"]
    assert set(beside["target"]) == {"liver"}
    assert found.agreement_of().loc["good", "targets"] == 5
    # Its static leaderboard comes from the study proper, its own target left out.
    both = found.agreement[(found.agreement["metric"] == "static_leaderboard") & (found.agreement["target"] == "liver")]
    assert both[both["subset"] == "all"]["kendall"].nunique() == 1


def test_the_seed_decides_everything(planted):
    first, again, other = (correlate(*planted, resamples=20, seed=seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first.agreement, again.agreement)
    pd.testing.assert_frame_equal(first.reliability, again.reliability)
    assert not first.agreement.equals(other.agreement)


def test_row_order_does_not_matter(planted):
    shuffled = tuple(frame.sample(frac=1, random_state=0) for frame in planted)
    first, other = (correlate(*frames, resamples=20).agreement_of() for frames in (planted, shuffled))
    metrics = ["good", "bad", "static_leaderboard"]
    pd.testing.assert_frame_equal(first.loc[metrics], other.loc[metrics])


def test_one_seed_has_no_reliability_and_says_so(planted):
    truth, scores, sources = planted
    found = correlate(truth[truth["seed"] == 0], scores, sources, resamples=20)
    row = found.reliability_of()
    assert np.isnan(row["kendall"])
    assert "1 seed, at least 2 are needed" in row["reason"]
    rows = found.agreement_of()
    assert rows.loc["good", "kendall"] > 0.5
    assert np.isnan(rows.loc["good", "kendall_share"])


def test_no_warning_reaches_the_reader(planted):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        correlate(*planted, resamples=20)


def test_a_pool_without_strong_sources_is_no_crash(planted):
    truth, scores, sources = planted
    found = correlate(truth, scores, sources.assign(length="short"), resamples=20)
    assert found.agreement_of(subset=WITHOUT_WEAK).empty
    assert found.agreement_of().loc["good", "kendall"] > 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, s, p: (t, s.drop(columns="reason"), p), "`scores` must have the columns .*, missing reason"),
        (lambda t, s, p: (t, s, p.drop(columns="length")), "`sources` must have the columns .*, missing length"),
        (
            lambda t, s, p: (t, pd.concat([s, s.iloc[:1]]), p),
            "`scores` must contain each source, target, metric once, got s00",
        ),
        (lambda t, s, p: (t, s, p.iloc[1:]), "`sources` must have a row for each source of the truth, missing s00"),
        (lambda t, s, p: (t.iloc[:0], s, p), "`truth` must contain at least one row, got none"),
    ],
)
def test_bad_frames_are_named(planted, change, message):
    with pytest.raises(ValueError, match=message):
        correlate(*change(*planted), resamples=5)


def test_an_unknown_row_is_named(study):
    with pytest.raises(ValueError, match="must name a row of the study, got 'nowhere' and 'all'"):
        study.reliability_of("nowhere")
