"""`sensitivity` on top of a finished bench: variants beside the default, and nothing of them anywhere else."""

import re
import shutil

import pandas as pd
import pytest

from tests.command_fixtures import BASIC, BENCH, CHOSEN

PARTS = [
    "~parts.points",
    "~parts.sampling",
    "~parts.layers",
    "~parts.layer",
    "~parts.cases",
    "~parts.precision",
    "~parts.stages",
]
SMALL = [
    *PARTS,
    "parts.windows.metrics=[ccfv,logme]",
    "parts.tuned.metrics=[ccfv,logme]",
    "~parts.tuned.truth.last",
    "~parts.tuned.truth.all",
    "resamples=50",
]


@pytest.fixture(scope="module")
def studied(bench, python_m, tmp_path_factory):
    """A copy of the bench with a study on top, and how that went."""
    place = type(bench[0])(tmp_path_factory.mktemp("studied"))
    for name in ("data", "outputs"):
        shutil.copytree(bench[0].folder / name, place.folder / name)
    shutil.copy(bench[0].folder / "mlflow.db", place.folder / "mlflow.db")
    done = python_m("benchmark.sensitivity", *BENCH, BASIC, *SMALL, *place.overrides)
    assert done.returncode == 0, done.stdout + done.stderr
    return place, done


def rows_of(place, name):
    return pd.read_csv(place.folder / "outputs" / "sensitivity" / "synthetic" / name)


def test_what_the_bench_finished_is_not_run_again(studied):
    assert "truth: all 8 jobs already finished" in studied[1].stdout
    done = studied[1].stdout.partition("variants, score:")[2]
    assert "score: 16 jobs run, 0 already finished" in done
    assert "truth: 4 jobs run, 4 already finished" in done  # the decoder's are those of the bench


def test_variants_stand_beside_the_default(studied):
    rows = rows_of(studied[0], "variants.csv")
    means = rows[rows["scope"] == "mean"].set_index(["part", "metric", "variant"])
    assert ("windows", "ccfv", "default") in means.index
    assert means.loc[("windows", "logme", "foreground"), "forwarded"] <= 1
    assert means.loc[("windows", "logme", "default"), "same_ranking"] == pytest.approx(1)
    bench = pd.read_csv(studied[0].folder / "outputs" / "study" / "synthetic" / "agreement.csv")
    own = bench[(bench["subset"] == "all") & (bench["metric"] == "logme") & (bench["target"] == "synthetic_ball")]
    here = rows[(rows["variant"] == "default") & (rows["metric"] == "logme") & (rows["target"] == "synthetic_ball")]
    assert here["kendall"].iloc[0] == pytest.approx(own["kendall"].iloc[0])


def test_estimates_that_need_further_passes_have_numbers_and_reasons(studied):
    rows = rows_of(studied[0], "variants.csv")
    passes = rows[(rows["part"] == "passes") & (rows["target"] == "synthetic_ball")].set_index("metric")
    assert set(passes.index) == {"crank", "otce", "ped"}
    assert passes.loc["crank", "counted"] == passes.loc["crank", "sources"]
    assert "scratch has no data of its own" in passes.loc["otce", "reason"]


def test_a_truth_tuned_otherwise_is_compared(studied):
    rows = rows_of(studied[0], "variants_tuned.csv")
    assert list(dict.fromkeys(rows["variant"])) == ["decoder", "head"]
    assert set(rows["target"]) == {"synthetic_ball"}
    assert list(rows.loc[rows["variant"] == "decoder", "same_ranking"]) == pytest.approx([1, 1])


def test_races_are_replayed_from_the_truth_of_the_bench(studied):
    rows = rows_of(studied[0], "variants_races.csv")
    targets = rows[(rows["scope"] == "target") & rows["eta"].notna()]
    assert set(targets["eta"]) == {2, 3, 4}
    assert {"all", "best 4 by logme", "best 8 by transrate"} <= set(targets["candidates"])
    assert targets["regret"].notna().all()
    assert targets["cost"].between(0, 1).loc[targets["candidates"] == "all"].all()
    assert "races: how many candidates should a race start with" in studied[1].stdout


def test_runs_of_variants_are_tagged_and_enter_no_other_table(studied, bench, command_line):
    place = studied[0]
    scored = place.store().finished("score").values()
    assert {row.tags.get("variant") for row in scored} == {None, "passes/extra", "windows/foreground"}
    assert {row.params.get("variant") for row in place.store().finished("variant").values()} >= {"foreground", "extra"}
    before = (bench[0].folder / "outputs" / "study" / "synthetic" / "agreement.csv").read_bytes()
    done = command_line("correlate", "experiment=synthetic", CHOSEN, *place.overrides)
    assert done.code == 0
    assert (place.folder / "outputs" / "study" / "synthetic" / "agreement.csv").read_bytes() == before
    assert "otce" not in done.out


@pytest.mark.parametrize(
    ("bad", "line"),
    [
        ("parts.tuned.target=liver", r"parts.tuned.target must be one of synthetic_ball, synthetic_pebble, got liver"),
        ("parts.windows.metrics=[nope]", r".*Could not load 'metric/nope'.*"),
        ("parts.windows.score.foreground=['stream.nope=1']", r".*Could not override 'stream.nope'.*"),
        (
            "parts.tuned.truth.head=['trainer.tune=most']",
            r"trainer.tune must be one of all, .*, got most",
        ),
    ],
)
def test_a_wrong_part_is_told_before_any_job_runs(study, command_line, bad, line):
    kept = PARTS if "tuned" in bad else [*PARTS, "~parts.tuned"]
    done = command_line("sensitivity", *BENCH, BASIC, bad, *kept, *study.overrides)
    assert done.code == 2
    assert re.fullmatch(f"error: {line}\n", done.err), done.err
    assert study.store().finished() == {}
