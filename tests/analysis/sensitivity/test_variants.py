"""Variants of a planted study, whose agreement and difference from the default are known."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis.sensitivity.report import Findings, study_tables, variants_figure, write_files
from analysis.sensitivity.variants import DEFAULT, Variant, VariantDraws, compare_scores, compare_truths
from analysis.truth.pools import Scope

DRAWS = VariantDraws(resamples=100)


@pytest.fixture(scope="module")
def frames(planted):
    """Truth, the scores of `good` and `bad` alone, sources."""
    truth, scores, sources = planted
    return truth, scores[scores["metric"].isin(["good", "bad"])], sources


@pytest.fixture(scope="module")
def compared(frames):
    """Three variants: the same numbers on another scale, turned round, and one metric that the default lacks."""
    truth, default, sources = frames
    good = default[default["metric"] == "good"]
    scaled = default.assign(score=3 * default["score"] + 1)
    turned = good.assign(score=-good["score"])
    extra = good.assign(metric="extra", score=good["score"].where(good["source"] != "s00"))
    extra.loc[extra["source"] == "s00", "reason"] = "no data of its own"
    variants = [
        Variant("scale", "scaled", scaled, forwarded=0.25),
        Variant("scale", "turned", turned),
        Variant("passes", "extra", extra),
    ]
    return compare_scores(truth, sources, default, variants, draws=DRAWS)


@pytest.fixture(scope="module")
def found(compared):
    """The same rows by part, metric, variant and target; the target of a mean is empty."""
    rows = compared[compared["scope"] != Scope.MEAN_BY_SCAN]
    return rows.set_index(["part", "metric", "variant", "target"]).sort_index()


def test_every_part_has_the_default_of_its_metrics_beside_it(found):
    names = {key[:3] for key in found.index}
    assert names == {
        ("scale", "good", DEFAULT),
        ("scale", "good", "scaled"),
        ("scale", "good", "turned"),
        ("scale", "bad", DEFAULT),
        ("scale", "bad", "scaled"),
        ("passes", "extra", "extra"),
    }


def test_a_monotone_change_changes_no_ranking_and_no_agreement(found):
    base, scaled = (found.loc["scale", "good", name] for name in (DEFAULT, "scaled"))
    np.testing.assert_allclose(scaled["same_ranking"], 1)
    for column in ("weighted_kendall", "kendall", "weighted_kendall_low", "weighted_kendall_high"):
        np.testing.assert_allclose(scaled[column], base[column])
    np.testing.assert_allclose(scaled["pearson"], base["pearson"], atol=1e-12)
    assert set(scaled["forwarded"]) == {0.25}
    assert set(base["forwarded"]) == {1.0}


def test_turned_round_it_ranks_the_other_way(found):
    base, turned = (found.loc["scale", "good", name] for name in (DEFAULT, "turned"))
    assert turned.loc["", "same_ranking"] == pytest.approx(-1)
    np.testing.assert_allclose(turned["kendall"], -base["kendall"])


def test_a_source_without_a_score_is_left_out_and_named(found):
    extra = found.loc["passes", "extra", "extra"]
    assert np.isfinite(extra.loc["", "weighted_kendall"])
    assert np.isnan(extra.loc["", "same_ranking"])  # there is no default to compare with
    assert (extra.loc["liver", "sources"], extra.loc["liver", "counted"]) == (12, 11)
    assert "no data of its own" in extra.loc["liver", "reason"]


@pytest.fixture(scope="module")
def tuned(frames):
    """The liver's truth, the same with its ranking turned round, and the same with one seed fewer."""
    truth, default, sources = frames
    liver = truth[truth["target"] == "liver"]
    truths = {
        "decoder": liver,
        "head": liver.assign(tune="head", dice=1 - liver["dice"]),
        "all": liver[liver["seed"] < 2].assign(tune="all"),
    }
    return compare_truths(truths, sources, default, draws=DRAWS)


def test_a_truth_is_compared_with_the_first(tuned):
    rows = tuned.set_index(["variant", "metric"])
    assert rows.loc[("decoder", "good"), "same_ranking"] == pytest.approx(1)
    assert rows.loc[("head", "good"), "same_ranking"] == pytest.approx(-1)
    assert rows.loc[("head", "good"), "kendall"] == pytest.approx(-rows.loc[("decoder", "good"), "kendall"])
    assert rows.loc[("head", "good"), "reliability"] == pytest.approx(
        rows.loc[("decoder", "good"), "reliability"],
        abs=0.01,  # both are simulated, from other draws
    )
    assert set(rows["target"]) == {"liver"}


@pytest.fixture(scope="module")
def findings(compared, tuned):
    asks = {"scale": "does a scale matter?", "passes": "and further passes?", "tuned": "whose truth?"}
    return Findings(asks, compared, {"tuned": tuned})


def test_a_table_a_part_says_what_it_asks_and_why_a_source_is_missing(findings):
    tables = study_tables(findings)
    assert [table.title.partition(":")[0] for table in tables] == ["scale", "passes", "tuned"]
    scale, passes, truths = tables
    assert [row[:2] for row in scale.groups[0]] == [("good", DEFAULT), ("", "scaled"), ("", "turned")]
    assert scale.groups[0][1][-2] == "25%"
    assert any("no data of its own" in note for note in passes.notes)
    assert [group[0][0] for group in truths.groups] == ["decoder", "head", "all"]


def test_files_hold_every_row(findings, tmp_path):
    paths = write_files(findings, study_tables(findings), tmp_path)
    assert {path.name for path in paths} == {"variants.csv", "variants_tuned.csv", "variants.md", "variants.png"}
    assert len(pd.read_csv(tmp_path / "variants.csv")) == len(findings.scores)
    assert "### tuned: whose truth?" in (tmp_path / "variants.md").read_text(encoding="utf-8")
    assert Image.open(tmp_path / "variants.png").size[0] > 300


def test_the_figure_has_a_panel_a_part_and_a_line_a_variant(findings):
    rows = findings.scores[findings.scores["scope"] == Scope.MEAN]
    figure = variants_figure(rows)
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["scale", "passes"]
    assert [text.get_text() for text in figure.axes[1].get_yticklabels()] == ["extra, extra"]
