"""What the dashboards are made of: flat runs of a study, the runs of sweeps, and views that follow the store."""

import json
import math
from dataclasses import replace

import pytest
from omegaconf import OmegaConf

from analysis.dashboards.publish import MOST_PAIRS, agreement_runs, pair_runs
from analysis.dashboards.refresh import AfterSweep, agreement_view, by_setting, shared, sweeps_view, swept, truth_view
from analysis.truth.pools import Scope
from benchmark.tracking.records import Row


def row(stage, run, params, metrics=None, tags=None, key=""):
    return Row(stage, key or run, run, params, metrics or {}, tags or {}, run)


def score(run, *, source="a", overlap="0.25", **further):
    params = {"source": source, "target": "liver", "metrics": "ccfv,logme", "stream.overlap": overlap, **further}
    return row("score", run, params, {"ccfv": 0.1, "logme": 0.2})


def named(run, metric, target):
    return (run.params["metric"], run.params.get("target")) == (metric, target)


# --- flat runs ---


def test_every_metric_has_a_run_a_target_and_mean(study):
    runs = agreement_runs(study)
    places = {(Scope.TARGET, pool.target) for pool in study.pools}
    places |= {(Scope.MEAN, None), (Scope.MEAN_BY_SCAN, None)}  # a mean has no target
    for metric in set(study.agreement["metric"]):
        own = [run.params for run in runs if run.params["metric"] == metric]
        assert {(params["scope"], params.get("target")) for params in own} == places
    assert len(runs) == len(places) * study.agreement["metric"].nunique()
    assert len({run.name for run in runs}) == len(runs)


def test_the_runs_of_targets_have_the_same_params_and_metrics(study):
    runs = [run for run in agreement_runs(study) if "target" in run.params]
    assert len({tuple(run.params) for run in runs}) == 1
    assert len({tuple(run.metrics) for run in runs}) == 1
    assert next(iter(runs[0].metrics)) == "weighted_kendall"  # what a page of compared runs opens on


def test_a_run_holds_the_figures_of_the_study(study):
    run = next(run for run in agreement_runs(study) if named(run, "good", "lung"))
    figures = study.agreement_targets("good").loc["lung"]
    assert run.metrics["weighted_kendall"] == figures["weighted_kendall"]
    assert run.metrics["weighted_kendall_share"] == figures["weighted_kendall_share"]
    assert f"**{figures['weighted_kendall']:.2f}**" in run.note
    assert run.tags == {"kind": "metric"}
    assert run.targets == ("lung",)


def test_short_fine_tuning_is_listed_by_its_kind_and_name(trained):
    run = next(run for run in agreement_runs(trained) if named(run, "fine_tuning_quarter", "lung"))
    assert run.tags == {"kind": "training"}
    assert run.name == "short fine-tuning, 1/4 on lung"
    assert run.metrics["seconds"] == 40
    assert run.note.startswith("Agreement of **short fine-tuning, 1/4** with the Dice after fine-tuning")
    assert "judged by the other seeds" in run.note


def test_the_mean_alone_holds_what_has_a_bar_a_metric(study):
    for run in agreement_runs(study):
        mine = {name for name in run.metrics if name.startswith("mean/")}
        assert bool(mine) == (run.params["scope"] == Scope.MEAN)
        for name in mine:
            assert run.metrics[name] == pytest.approx(run.metrics[name.removeprefix("mean/")], nan_ok=True)


def test_the_best_metric_is_written_last(study):
    means = [run.metrics["weighted_kendall"] for run in agreement_runs(study) if run.params["scope"] == Scope.MEAN]
    defined = [value for value in means if not math.isnan(value)]
    assert defined == sorted(defined)
    assert all(math.isnan(value) for value in means[: len(means) - len(defined)])


def test_an_undefined_figure_has_its_reason(study):
    run = next(run for run in agreement_runs(study) if named(run, "constant", "lung"))
    assert run.tags["reason/constant"] == "all scores are alike"
    assert "all scores are alike" in run.note


def test_pairs_hold_dice_and_scores(study):
    runs = {(run.params["source"], run.params["target"]): run for run in pair_runs(study)}
    assert len(runs) == sum(len(pool.sources) for pool in study.pools)
    pool = study.pools[0]
    run = runs[pool.sources[3], pool.target]
    assert run.metrics["dice"] == pytest.approx(pool.mean[3])
    assert run.metrics["dice_sd"] == pytest.approx(pool.dice[3].std(ddof=1))
    scores = study.scores[(study.scores["source"] == pool.sources[3]) & (study.scores["target"] == pool.target)]
    for metric, value in zip(scores["metric"], scores["score"], strict=True):
        assert run.metrics[metric] == pytest.approx(value, nan_ok=True)


def test_a_study_beyond_the_page_has_no_pairs(study, monkeypatch):
    monkeypatch.setattr("analysis.dashboards.publish.MOST_PAIRS", 59)
    assert pair_runs(study) == []
    assert MOST_PAIRS > 60


# --- sweeps ---


def test_runs_about_the_same_that_differ_in_a_setting_are_a_sweep():
    rows = [score("1"), score("2", overlap="0.5"), score("3", source="b"), score("4", source="c", overlap="0.5")]
    assert swept(rows) == {"1": ("stream.overlap",), "2": ("stream.overlap",)}


def test_a_setting_that_a_run_does_not_have_is_no_difference():
    assert swept([score("1"), score("2", **{"metric.ccfv.seed": "0"})]) == {}


def test_stages_are_kept_apart():
    one, other = score("1"), row("truth", "2", dict(score("2", overlap="0.5").params))
    assert swept([one, other]) == {}


def test_each_setting_has_its_rows():
    rows = [score("1"), score("2", overlap="0.5"), score("3", source="b")]
    assert by_setting(rows, swept(rows)) == {("score", "stream.overlap"): rows[:2]}


def test_settings_that_differ_are_not_shared():
    rows = [score("1", **{"stream.batch": "4"}), score("2", overlap="0.5", **{"stream.batch": "4"})]
    assert shared(rows) == {"stream.batch": "4"}


# --- views ---


def charts(view):
    return [card for card in view.state["compareRunCharts"] if not card["deleted"]]


def study_rows(key):
    means = {"good": 0.8, "bad": -0.5, "gap": math.nan}
    return [
        *(
            row("agreement", f"{key}{name}", {"metric": name, "scope": Scope.MEAN}, {"weighted_kendall": value},
                {"kind": "metric", "study": key})
            for name, value in means.items()
        ),
        row("pair", f"{key}p", {"source": "a", "target": "liver"}, {"dice": 0.5}, {"study": key}),
        row("summary", f"{key}s", {}, key=key),
    ]  # fmt: skip


def test_views_show_the_newest_study():
    rows = [*study_rows("a" * 12), *study_rows("b" * 12)]
    assert f"tags.study = '{'b' * 12}'" in agreement_view(rows).runs
    assert truth_view(rows).runs == f"tags.stage = 'pair' and tags.study = '{'b' * 12}'"


def test_the_truth_stands_against_the_best_metric():
    assert [card["xaxis"]["key"] for card in charts(truth_view(study_rows("a" * 12))) if card["type"] == "SCATTER"] == [
        "source_dice", "static_leaderboard", "good",
    ]  # fmt: skip


def test_a_study_of_an_earlier_version_gives_empty_charts_of_agreement():
    """Its runs have no scope; its means had the target "mean"."""
    rows = study_rows("a" * 12)
    older = [
        replace(row, params={"metric": row.name, "target": "mean"}) if row.stage == "agreement" else row for row in rows
    ]
    assert agreement_view(older) == agreement_view(rows)
    assert [card["xaxis"]["key"] for card in charts(truth_view(older)) if card["type"] == "SCATTER"] == [
        "source_dice", "static_leaderboard",
    ]  # fmt: skip


def test_a_sweep_of_studies_has_a_line_a_target_and_a_line_a_mean():
    rows = [
        row("agreement", f"{target}{value}", {"metric": "good", "correlate.seed": value, **place})
        for target, place in (("mean", {"scope": "mean"}), ("lung", {"scope": "target", "target": "lung"}))
        for value in ("0", "1")
    ]
    lines = [card for card in charts(sweeps_view(by_setting(rows, swept(rows)))) if card["type"] == "PARALLEL"]
    assert [(line["selectedParams"], line["selectedMetrics"]) for line in lines] == [
        (["correlate.seed", "target", "metric"], ["weighted_kendall"]),
        (["correlate.seed", "metric"], ["mean/weighted_kendall"]),
    ]


def test_views_of_an_empty_store_are_whole():
    for view in (agreement_view([]), truth_view([]), sweeps_view({})):
        assert "tags.study" not in view.runs
        json.dumps(view.state)
    assert truth_view([]).runs == "tags.stage = 'truth'"
    assert charts(sweeps_view({})) == []


def test_a_sweep_over_a_metrics_setting_shows_that_metric():
    rows = [score("1", **{"metric.logme.seed": "0"}), score("2", **{"metric.logme.seed": "1"})]
    line, bar = charts(sweeps_view(by_setting(rows, swept(rows))))
    assert line["selectedParams"] == ["metric.logme.seed", "target", "source"]
    assert line["selectedMetrics"] == ["logme"]
    assert bar["metricKey"] == "logme"


def test_a_sweep_over_the_stream_shows_several_metrics():
    rows = [score("1"), score("2", overlap="0.5")]
    line, bar = charts(sweeps_view(by_setting(rows, swept(rows))))
    assert line["selectedMetrics"] == ["logme", "ccfv"]
    assert bar["metricKey"] == "ccfv"


def test_a_sweep_that_wrote_no_run_makes_no_store(tmp_path):
    store = {"_target_": "benchmark.tracking.Store", "uri": f"sqlite:///{tmp_path}/mlflow.db", "experiment": "x"}
    AfterSweep().on_multirun_end(OmegaConf.create({"tracking": store}))
    assert list(tmp_path.iterdir()) == []
