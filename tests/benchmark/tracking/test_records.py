"""Rows become the three frames that the analysis reads."""

import math
from dataclasses import replace

import pandas as pd

from benchmark.tracking.records import Row, Stage, newest, rung_frame, score_frame, source_frame, truth_frame


def test_the_stages_are_those_that_others_rely_on():
    stages = "prepare pretrain truth score pair agreement summary rank race perf variant"
    assert [str(stage) for stage in Stage] == stages.split()
    assert Stage("score") == "score"


def test_truth_rows():
    params = {"source": "liver_unet", "target": "spleen", "seed": "3", "tune": "last"}
    rows = [
        Row("truth", "a", "one", params, {"dice": 0.5, "external_dice": 0.25, "seconds": 2.0}),
        Row("truth", "b", "two", params | {"seed": "4"}, {}, {"reason/dice": "it has two channels"}),
    ]
    frame = truth_frame(rows)
    assert list(frame.columns) == ["source", "target", "seed", "tune", "dice", "external_dice", "reason", "seconds"]
    assert frame.iloc[0].to_dict() == {
        "source": "liver_unet", "target": "spleen", "seed": 3, "tune": "last", "dice": 0.5, "external_dice": 0.25,
        "reason": "", "seconds": 2.0,
    }  # fmt: skip
    assert frame["seed"].dtype.kind == "i"
    assert math.isnan(frame.iloc[1]["dice"])
    assert frame.iloc[1]["reason"] == "it has two channels"


def test_rungs_of_truth_rows():
    params = {"source": "liver_unet", "target": "spleen", "seed": "3", "tune": "all"}
    metrics = {
        "dice": 0.9, "seconds": 7.0, "validation_dice/half": 0.5, "seconds/validation_dice/half": 3.0,
        "validation_dice/eighth": math.nan, "seconds/validation_dice/eighth": 1.0, "validation_dice/full": 0.75,
    }  # fmt: skip
    rows = [Row("truth", "a", "one", params, metrics), Row("truth", "b", "two", params | {"seed": "4"}, {"dice": 0.5})]
    frame = rung_frame(rows)
    assert list(frame.columns) == ["source", "target", "seed", "tune", "rung", "dice", "seconds"]
    assert frame.fillna(-1.0).values.tolist() == [
        ["liver_unet", "spleen", 3, "all", "eighth", -1.0, 1.0],
        ["liver_unet", "spleen", 3, "all", "full", 0.75, -1.0],
        ["liver_unet", "spleen", 3, "all", "half", 0.5, 3.0],
    ]  # the second run has no validation cases
    assert rung_frame(rows[1:]).empty
    assert list(rung_frame([]).columns) == list(frame.columns)


def test_score_rows_are_long_and_keep_reasons():
    row = Row(
        "score", "a", "one", {"source": "s", "target": "t", "metrics": "ccfv,leep"},
        {"ccfv": 1.5, "seconds/ccfv": 0.5, "leep": math.nan, "other": 3.0}, {"reason/leep": "no source class"},
    )  # fmt: skip
    frame = score_frame([row])
    assert list(frame.columns) == ["source", "target", "metric", "score", "reason", "seconds"]
    assert list(frame["metric"]) == ["ccfv", "leep"]
    assert frame.loc[0, ["score", "reason", "seconds"]].tolist() == [1.5, "", 0.5]
    assert math.isnan(frame.loc[1, "score"])
    assert frame.loc[1, "reason"] == "no source class"
    assert math.isnan(frame.loc[1, "seconds"])


def test_source_rows():
    row = Row(
        "pretrain", "a", "one",
        {"source": "scratch", "task": "none", "arch": "dynunet", "width": "16", "length": "scratch"},
        {"parameters": 1000.0, "cases": 0.0},
    )  # fmt: skip
    frame = source_frame([row])
    columns = ["source", "task", "arch", "width", "length", "parameters", "source_dice", "source_cases", "classes"]
    assert list(frame.columns) == columns
    assert frame.loc[0, "width"] == 16
    assert math.isnan(frame.loc[0, "source_dice"])
    assert math.isnan(frame.loc[0, "classes"])  # as in a run of an earlier version
    assert source_frame([replace(row, metrics={**row.metrics, "classes": 2.0})]).loc[0, "classes"] == 2


def test_no_rows_give_empty_frames_with_all_columns():
    for make, column in ((truth_frame, "dice"), (score_frame, "score"), (source_frame, "source_dice")):
        frame = make([])
        assert isinstance(frame, pd.DataFrame)
        assert len(frame) == 0
        assert column in frame.columns


def test_scoring_again_by_a_few_metrics_does_not_hide_the_others():
    pair = {"source": "a", "target": "t"}
    first = Row("score", "1", "", pair | {"metrics": "x,y"}, {"x": 1.0, "y": float("nan")}, {"reason/y": "dead"})
    second = Row("score", "2", "", pair | {"metrics": "y"}, {"y": 3.0})
    frame = score_frame(newest([first, second])).set_index("metric")
    assert frame["score"].to_dict() == {"x": 1.0, "y": 3.0}
    assert frame.loc["y", "reason"] == ""


def test_the_newest_fine_tuning_counts():
    params = {"source": "a", "target": "t", "seed": "0", "tune": "all"}
    rows = [Row("truth", str(at), "", params, {"dice": float(at)}) for at in range(2)]
    assert truth_frame(newest(rows))["dice"].tolist() == [1.0]
