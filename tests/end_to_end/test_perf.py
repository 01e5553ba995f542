"""`benchmark.perf` shrunk to seconds: what it writes and how it exits. No time is asserted."""

import json
import math
import multiprocessing

import pytest

from benchmark.performance.measurement import Check, Measurement
from tests.warm_python import WarmSubprocess

ROWS = {
    "score_over_forward",
    "w2_pairs",
    "point_features",
    "score_memory",
    "score_memory_size",
    "score_memory_classes",
    "score_large_case",
    "logme_large",
    "logme_offset",
    "class_statistics",
    "large_report",
    "job_cost",
    "train_crop",
    "train_loader",
    "train_loader_before",
    "resume_start",
    "job_start",
    "prepare_parallel",
    "train_memory",
    "rank_estimate",
    "open_checkpoint",
    "race_overhead",
}
LOADERS = ("train_crop", "train_loader", "train_loader_before", "resume_start", "train_memory")
NO_BOUND = 1e9  # of a cost
FIELDS = {"name", "ours", "reference", "ratio", "bound", "holds", "device"}

SHRUNK = [
    "repeats=1",
    *(f"rows.{name}.repeats=1" for name in ("score_over_forward", "logme_large", "logme_offset")),
    "rows.score_over_forward.scoring.arch.network.filters=[8,8,8,8,8]",
    "rows.score_over_forward.scoring.window=[32,32,32]",
    "rows.score_over_forward.cases=4",
    "rows.score_over_forward.size=32",
    "rows.w2_pairs.d=16",
    "rows.w2_pairs.n=10",
    "rows.w2_pairs.m=4",
    "rows.w2_pairs.reference_pairs=2",
    "rows.point_features.d=4",
    "rows.point_features.size=16",
    "rows.score_memory.cases=2",
    "rows.score_memory.times=2",
    "rows.score_memory.size=32",
    *(f"rows.{name}.scoring.window=[32,32,32]" for name in ("score_memory_size", "score_memory_classes")),
    "rows.score_memory_size.large=[40,48,48]",
    "rows.score_memory_size.small=[32,32,32]",
    "rows.score_memory_classes.shape=[32,32,32]",
    "rows.score_memory_classes.many=21",
    "rows.score_large_case.size=32",
    "rows.logme_large.n=1000",
    "rows.logme_large.d=4",
    "rows.logme_offset.n=1000",
    "rows.logme_offset.d=4",
    "rows.class_statistics.d=4",
    "rows.class_statistics.size=16",
    *(
        f"rows.large_report.work.study.{name}={size}"
        for name, size in {"sources": 6, "targets": 2, "metrics": 2, "resamples": 10}.items()
    ),
    "rows.job_cost.repeats=1",
    "rows.job_cost.metrics=[ccfv,logme]",
    *(
        f"rows.{name}.{setting}"
        for name in (*LOADERS, "prepare_parallel")
        for setting in ("size.cases=2", "size.plane=[40,36]", "size.slices=[12,14]")
    ),
    *(f"rows.{name}.patch=[8,8,8]" for name in LOADERS),
    *(
        f"rows.{name}.{setting}"
        for name in LOADERS[:3]
        for setting in ("repeats=1", "timed=2", "timed_reference=2", "workers=1")
    ),
    "rows.train_memory.many=5",
    "rows.train_memory.timed=4",
    "rows.prepare_parallel.spacing=[5.0,2.0,2.0]",
    "rows.job_start.few=2",
    "rows.job_start.many=3",
    "rows.job_start.plane=[40,36]",
    "rows.job_start.slices=[30,34]",
    "rows.job_start.repeats=1",
    "rows.rank_estimate.sources=2",
    "rows.rank_estimate.plane=[40,36]",
    "rows.rank_estimate.slices=[12,12]",
    "rows.open_checkpoint.state_dicts.dynunet.filters=[8,8,8,8,8,8]",
    "rows.open_checkpoint.state_dicts.swinunetr.feature_size=12",
    "rows.open_checkpoint.nnunet.features=[4,4,4]",
    "rows.open_checkpoint.nnunet.blocks=[1,1,1]",
    "rows.race_overhead.plane=[40,36]",
    "rows.race_overhead.slices=[12,12]",
    "rows.race_overhead.settings=['monai.steps=4','monai.patch=[16,16,16]','monai.window=[32,32,32]']",
    "growth.base.size=16",
    "growth.base.cases=2",
    "growth.base.dims=4",
    *(f"~growth.axes.{axis}" for axis in ("size", "classes", "dims", "sources")),
    "growth.axes.cases=[2]",
    "metric=[ccfv,logme,leep,knn,ncti]",
]
UNBOUND = [
    "rows.score_over_forward.bound=1e9",
    "rows.w2_pairs.bound=0",
    "rows.point_features.bound=0",
    "rows.score_memory.bound=1e9",
    "rows.score_memory_size.bound=1e9",
    "rows.score_memory_classes.bound=1e9",
    "rows.score_large_case.bound=1e9",
    "rows.logme_large.bound=0",
    "rows.logme_offset.bound=0",
    "rows.class_statistics.bound=1e9",
    "rows.large_report.bound=1e9",
    "rows.job_cost.bound=1e9",
    *(f"rows.{name}.bound=0" for name in (*LOADERS[:3], "prepare_parallel")),
    *(
        f"rows.{name}.bound=1e9"
        for name in ("resume_start", "job_start", "train_memory", "rank_estimate", "race_overhead")
    ),
    "rows.open_checkpoint.bound=1e9",
    "rows.rank_estimate.lowest=0",
]


@pytest.fixture
def perf(place, command_line):
    """Runs the shrunk measurement with further overrides, and reads what it wrote."""

    def run(*overrides):
        done = command_line("perf", *place.overrides, *SHRUNK, *UNBOUND, *overrides)
        written = place.folder / "outputs" / "perf.json"
        return done, json.loads(written.read_text(encoding="utf-8")) if written.exists() else None

    return run


@pytest.fixture
def forks(monkeypatch, warm_python):
    """What is measured in a fresh process runs in a fork, which has imported everything: no figure is asserted."""
    fork = multiprocessing.get_context("fork")
    monkeypatch.setattr("benchmark.performance.measurement.get_context", lambda method: fork)
    for module in ("preparing", "race_overhead", "rank_estimate"):
        monkeypatch.setattr(f"benchmark.performance.{module}.subprocess", WarmSubprocess(warm_python))


@pytest.mark.slow
@pytest.mark.usefixtures("forks")
def test_every_row_is_measured_written_and_tracked(perf, place):
    done, rows = perf()
    assert done.code == 0, done.out + done.err
    assert {row["name"] for row in rows} == ROWS
    for row in rows:
        assert set(row) >= FIELDS
        assert row["holds"] is True
        assert row["device"] == "cpu"
        assert row["ours"] > 0
        assert row["reference"] > 0
        sides = row["ours"], row["reference"]
        gain = row["rule"] == "at least"
        assert row["ratio"] == pytest.approx(sides[1] / sides[0] if gain else sides[0] / sides[1])
        assert row["name"] in done.out
    (tracked,) = place.store("scans").finished("perf").values()
    assert tracked.tags["holds"] == "true"
    assert {name.partition("/")[0] for name in tracked.metrics} == ROWS
    figure = place.store("scans").download(tracked.run, "perf_growth.png", place.folder / "fetched")
    assert figure.read_bytes().startswith(b"\x89PNG")
    (point,) = json.loads((place.folder / "outputs" / "perf_growth.json").read_text(encoding="utf-8"))
    assert (point["axis"], point["value"]) == ("cases", 2)


def only(*names):
    """Overrides that leave all other rows and the curves out."""
    return ["growth=null", *(f"~rows.{name}" for name in sorted(ROWS - set(names)))]


def test_a_bound_that_falls_short_is_exit_code_1(place, command_line):
    impossible = ["rows.w2_pairs.bound=1e12", "rows.point_features.bound=0"]
    shrunk = [one for one in SHRUNK if one.startswith(("rows.w2_pairs", "rows.point_features", "repeats"))]
    left = only("w2_pairs", "point_features")
    done = command_line("perf", *place.overrides, *shrunk, *left, *impossible)
    assert done.code == 1
    assert done.err == "fell short: w2_pairs\n"
    rows = json.loads((place.folder / "outputs" / "perf.json").read_text(encoding="utf-8"))
    assert [(row["name"], row["holds"]) for row in rows] == [("w2_pairs", False), ("point_features", True)]
    (tracked,) = place.store("scans").finished("perf").values()
    assert tracked.tags["holds"] == "false"
    assert tracked.metrics["w2_pairs/holds"] == 0


@pytest.mark.parametrize(("rule", "ratio"), [("at most", 0.5), ("at least", 2.0)])
def test_a_ratio_is_a_cost_or_a_gain(rule, ratio):
    row = Measurement(1.0, 2.0, rule, ratio, "cpu")
    assert row.ratio == ratio
    assert row.holds  # a bound that is met exactly is kept
    beyond = ratio * (0.99 if rule == "at most" else 1.01)
    assert not Measurement(1.0, 2.0, rule, beyond, "cpu").holds


@pytest.mark.parametrize(("ours", "holds"), [(0.59, False), (0.6, True), (1.6, True), (1.61, False)])
def test_a_prediction_must_be_in_a_range(ours, holds):
    row = Measurement(ours, 1.0, "within", 1.6, "cpu", lowest=0.6)
    assert (row.ratio, row.holds, row.requirement) == (ours, holds, "0.6 to 1.6")


@pytest.mark.parametrize("error", [2.0, math.nan])
def test_a_fast_wrong_result_does_not_hold(error):
    row = Measurement(1.0, 100.0, "at least", 2.0, "cpu", checks={"right": Check(0.0, 1.0), "wrong": Check(error, 1.0)})
    assert row.within
    assert not row.holds
