"""Every command end to end on the synthetic suite, alone and as the whole bench."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from PIL import Image

from benchmark.training.trainer import RUNGS
from tests.command_fixtures import BASIC, BENCH, CHOSEN, METRICS

COMMANDS = ["bench", "prepare", "pretrain", "truth", "score", "correlate"]
TARGETS = {"synthetic_ball", "synthetic_pebble"}
SOURCES = {"synthetic_ball", "synthetic_pebble", "synthetic_drop", "scratch", "scratch_wide"}
REPEAT = "synthetic_drop_seed1"  # a source of the suite, pre-trained again
RUNS = {  # agreement: metrics and controls
    "prepare": 3,
    "pretrain": 5 + 1,
    "truth": 2 * 4 * 2 + 2 * 2 + 2 * 2,  # of the study, longer from scratch, of the repeat
    "score": 2 * 4 + 2,
    "pair": 2 * 4,
    "summary": 1,
}
JOBS = {"prepare": 3, "pretrain": 5 + 1, "truth": 8 + 4 + 2, "score": 8 + 2}
TIMES = re.compile("second|memory")


def all_runs(place, client=None):
    client = client or MlflowClient(place.uri)
    return client.search_runs([client.get_experiment_by_name("ccfv-bench/synthetic").experiment_id], max_results=1000)


def counts(place):
    return Counter((run.data.tags["stage"], run.info.status) for run in all_runs(place))


def figures(place, metrics=METRICS, client=None):
    """What a study came to: each finished job's outcome and losses, bit for bit; of scores those of `metrics`."""
    client, found = client or MlflowClient(place.uri), {}
    for run in all_runs(place, client):
        stage = run.data.tags["stage"]
        if run.info.status == "FINISHED" and stage in {"pretrain", "truth", "score"}:
            place = [run.data.params.get(name) for name in ("source", "target", "seed")]
            job = stage, run.data.tags.get("variant"), *place
            told = {
                name for name in run.data.metrics if not TIMES.search(name) and (stage != "score" or name in metrics)
            }
            values = {name: np.float64(run.data.metrics[name]).tobytes() for name in told}
            losses = [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "loss")]
            found[job] = values, sorted(losses)
    return found


def is_of_study(row):
    """Whether a run is one of the study's own, and none that checks it."""
    return "variant" not in row.tags and row.params["source"] != REPEAT


def table(text):
    """The tables that a bench prints, from the truth's reliability on."""
    return text[text.index("truth: reliability") : text.index("tables and figures")]


def artifacts(place, row, path=None):
    """Every file of a run, but the diff of a tree that is being worked on."""
    client, found = MlflowClient(place.uri), set()
    for entry in client.list_artifacts(row.run, path):
        found |= artifacts(place, row, entry.path) if entry.is_dir else {entry.path}
    return found - {"uncommitted.diff"}


def content(place, row, path, folder):
    return place.store().download(row.run, path, folder)


# --- the whole bench ---


def test_a_bench_runs_every_job_once(bench):
    place, done = bench
    found = counts(place)
    assert {stage for stage, _ in found} == {*RUNS, "agreement"}
    assert {status for _, status in found} == {"FINISHED"}
    assert {stage: found[stage, "FINISHED"] for stage in RUNS} == RUNS
    for stage, jobs in JOBS.items():
        assert f"{stage}: {jobs} jobs run, 0 already finished" in done.stdout


def test_a_bench_prints_the_table_and_where_everything_is(bench):
    place, done = bench
    assert "truth: reliability" in done.stdout
    for metric in METRICS:
        assert metric in table(done.stdout)
    assert f"tables and figures: {place.folder / 'outputs' / 'study' / 'synthetic'}" in done.stdout
    assert f"once `make ui` serves {place.uri}" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_every_run_has_the_tags_that_others_rely_on(bench):
    place, _ = bench
    for run in all_runs(place):
        assert run.data.tags["suite"] == "synthetic"
        assert re.fullmatch("[0-9a-f]{64}", run.data.tags["job_key"])
        assert {"git_commit", "git_dirty", "host"} <= set(run.data.tags)
        for metric, value in run.data.metrics.items():
            reasons = {f"reason/{metric}", f"reason/{run.data.params.get('metric')}"}
            if np.isnan(value) and run.data.tags["stage"] in {"pretrain", "truth", "score"}:
                assert reasons & set(run.data.tags), f"{run.info.run_name}: {metric} is NaN without a reason"


def test_truth_runs(bench, tmp_path):
    place, _ = bench
    rows = [row for row in place.store().finished("truth").values() if is_of_study(row)]
    asked = {(row.params["source"], row.params["target"], row.params["seed"]) for row in rows}
    assert asked == {(source, target, seed) for target in TARGETS for source in SOURCES - {target} for seed in "01"}
    for row in rows:
        assert row.params["tune"] == "decoder"
        assert row.params["trainer.amp"] == "float32"  # what null is on a CPU
        assert row.params["device.deterministic"] == "False"
        assert 0.0 <= row.metrics["dice"] <= 1.0
        assert {"seconds", "peak_memory_mb", "loaded", "fresh", "loss"} <= set(row.metrics)
    names = artifacts(place, row)
    assert {"job.json", "dice.json", "transfer.json"} <= names
    assert {re.sub("_.*", "", Path(name).name) for name in names if name.startswith("pictures/")} == {"worst", "best"}
    dice = json.loads(content(place, row, "dice.json", tmp_path).read_text())
    organ = row.params["target"].removeprefix("synthetic_")
    assert [set(case) for case in dice["test"].values()] == [{organ}] * 2
    assert np.mean([case[organ] for case in dice["test"].values()]) == pytest.approx(row.metrics["dice"])
    assert dice["external"] == {}
    assert set(dice["validation"]) == set(RUNGS)
    for rung, cases in dice["validation"].items():
        assert set(cases) == {f"synthetic_{organ}_validation_{index:02d}" for index in range(2)}
        mean = np.mean([case[organ] for case in cases.values()])
        assert mean == pytest.approx(row.metrics[f"validation_dice/{rung}"])
        assert 0 < row.metrics[f"seconds/validation_dice/{rung}"] < row.metrics["seconds"]
    transfer = json.loads(content(place, row, "transfer.json", tmp_path).read_text())
    assert len(transfer["loaded"]) == row.metrics["loaded"]
    assert set(transfer["fresh"].values()) == {"head"}
    config = json.loads(content(place, row, "job.json", tmp_path).read_text())["config"]
    assert config["trainer"]["budget"]["steps"] == 3
    assert "${" not in json.dumps(config)


def test_pretrain_runs(bench, tmp_path):
    place, _ = bench
    rows = {row.params["source"]: row for row in place.store().finished("pretrain").values()}
    assert set(rows) == SOURCES | {REPEAT}
    wide, trained = rows["scratch_wide"], rows["synthetic_ball"]
    assert wide.params | {"seed": "0"} == {
        "source": "scratch_wide", "task": "none", "arch": "dynunet", "width": "16", "length": "scratch", "seed": "0",
        "steps": "0", "source.amp": "float32", "device.name": "cpu", "device.deterministic": "False",
    }  # fmt: skip
    assert np.isnan(wide.metrics["dice"])
    assert wide.tags["reason/dice"] == "initial weights, trained on no task"
    assert 0.0 <= trained.metrics["dice"] <= 1.0
    assert trained.metrics["cases"] == 3
    assert trained.metrics["classes"] == 1
    assert wide.metrics["classes"] == 0
    assert artifacts(place, trained) == {"job.json", "source/source.json", "source/weights.safetensors"}
    facts = json.loads(content(place, trained, "source/source.json", tmp_path).read_text())
    assert facts["labels"] == {"0": "background", "1": "ball"}
    assert facts["spacing"] == [1.0, 1.0, 1.0]
    assert facts["taps"] == ["upsamples.0", "upsamples.1", "upsamples.2"]
    assert facts["preparation"]["normalisation"]["window"] == [0.0, 1.0]
    assert {"architecture", "channels", "classes", "config", "git_commit", "data_digest", "sha256"} <= set(facts)


def test_score_runs(bench):
    place, _ = bench
    rows = [row for row in place.store().finished("score").values() if is_of_study(row)]
    pairs = {(row.params["source"], row.params["target"]) for row in rows}
    assert pairs == {(source, target) for target in TARGETS for source in SOURCES - {target}}
    for row in rows:
        metrics = row.params["metrics"].split(",")
        assert set(METRICS) <= set(metrics)
        assert {*metrics, *[f"seconds/{metric}" for metric in metrics], "seconds/pass"} <= set(row.metrics)
        assert row.tags["statistics"] == "computed"
        assert row.tags["backend"] == "torch"
        undefined = {metric for metric in metrics if np.isnan(row.metrics[metric])}
        assert {f"reason/{metric}" for metric in undefined} <= set(row.tags)
    assert {"job.json", "statistics/statistics.json"} <= artifacts(place, row)


def test_prepare_runs(bench, tmp_path):
    place, _ = bench
    rows = {row.params["task"]: row for row in place.store().finished("prepare").values()}
    assert set(rows) == {"synthetic_ball", "synthetic_pebble", "synthetic_drop"}
    row = rows["synthetic_ball"]
    assert re.fullmatch("[0-9a-f]{64}", row.tags["data_digest"])
    counts = {"source_train": 3, "source_validation": 1, "train": 4, "validation": 2, "test": 2}
    assert {name: row.metrics[f"cases_{name}"] for name in counts} == counts
    assert artifacts(place, row) == {"job.json", "dataset.json", "pictures/synthetic_ball.png"}
    with Image.open(content(place, row, "pictures/synthetic_ball.png", tmp_path)) as picture:
        assert picture.size[0] > picture.size[1] > 0


def test_agreement_and_summary_runs(bench):
    place, _ = bench
    agreement = {
        (row.params.get("target", row.params["scope"]), row.params["metric"]): row
        for row in place.store().finished("agreement").values()
    }
    assert {name for name, _ in agreement} == TARGETS | {"mean", "mean_by_scan"}
    for name in TARGETS | {"mean"}:
        for metric in METRICS:
            row = agreement[name, metric]
            assert int(row.params["sources"]) == 4
            assert {"pearson", "kendall", "weighted_kendall", "seconds"} <= set(row.metrics)
            if np.isnan(row.metrics["weighted_kendall"]):
                assert row.tags[f"reason/{metric}"]
    (summary,) = place.store().finished("summary").values()
    assert {"reliability", "ceiling", *[f"weighted_kendall/{metric}" for metric in METRICS]} <= set(summary.metrics)
    files = artifacts(place, summary)
    tables = ("agreement.csv", "table.md", "scores.csv", "reliability.csv", "truth.csv", "ccfv_terms.csv")
    assert {"report.html", "figures.pdf", "table1.tex", *(f"study/synthetic/{name}" for name in tables)} <= files
    assert {f"study/synthetic/{name}.png" for name in ("agreement", "dice", "cost")} <= files
    for metric in METRICS:
        mean = agreement["mean", metric].metrics["weighted_kendall"]
        assert summary.metrics[f"weighted_kendall/{metric}"] == pytest.approx(mean, nan_ok=True)


def test_further_runs_check_the_study(bench):
    """Scratch is trained longer, and a source is pre-trained again; both are reported."""
    place, _ = bench
    truth = list(place.store().finished("truth").values())
    longer = [row for row in truth if row.tags.get("variant") == "longer"]
    assert {(row.params["source"], row.params["target"], row.params["seed"]) for row in longer} == {
        (source, target, "0") for source in ("scratch", "scratch_wide") for target in TARGETS
    }
    assert {row.params["trainer.budget.steps"] for row in longer} == {"6"}
    assert sorted((row.params["target"], row.params["seed"]) for row in truth if row.params["source"] == REPEAT) == [
        (target, seed) for target in sorted(TARGETS) for seed in "01"
    ]
    (repeat,) = [row for row in place.store().finished("pretrain").values() if row.params["source"] == REPEAT]
    assert (repeat.params["seed"], repeat.params["task"], repeat.params["width"]) == ("1", "synthetic_drop", "4")
    folder = place.folder / "outputs" / "study" / "synthetic"
    budget = pd.read_csv(folder / "scratch_budget.csv")
    assert list(budget["factor"]) == [2.0] * 4
    assert set(budget["enough"]) <= {"yes", "no"}
    repeated = pd.read_csv(folder / "repeated.csv")
    own = repeated[repeated["part"] == "own_dice"].set_index("pretraining")["value"]
    assert own["seed 1"] == pytest.approx(repeat.metrics["dice"])
    assert set(repeated.loc[repeated["part"] == "movement", "metric"]) >= set(METRICS)


def test_a_second_bench_trains_nothing_and_prints_the_same(bench, again, command_line, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    before = counts(again)
    done = command_line("bench", *BENCH, BASIC, *again.overrides)
    assert done.code == 0, done.out + done.err
    for stage, jobs in JOBS.items():
        assert f"{stage}: all {jobs} jobs already finished" in done.out
    assert counts(again) == before
    assert table(done.out) == table(bench[1].stdout)


def test_jobs_that_did_not_finish_are_run_again(bench, again, command_line):
    """One job of each stage is left as an interrupted process or a failure would leave it."""
    client, broken = MlflowClient(again.uri), {}
    for stage, status in (("pretrain", "RUNNING"), ("truth", "FAILED"), ("score", "RUNNING")):
        run = next(run for run in all_runs(again) if run.data.tags["stage"] == stage)
        client.update_run(run.info.run_id, status)
        broken[run.data.tags["job_key"]] = status
    shutil.rmtree(again.folder / "outputs" / "sources")
    before = figures(bench[0])
    assert not set(broken) & set(again.store().finished())
    done = command_line("bench", *BENCH, BASIC, "until=score", *again.overrides)
    assert done.code == 0, done.out + done.err
    for stage in ("pretrain", "truth", "score"):
        jobs = JOBS[stage]
        assert f"{stage}: 1 jobs run, {jobs - 1} already finished" in done.out
    after = Counter(run.data.tags["job_key"] for run in all_runs(again))
    assert {key: count for key, count in after.items() if count > 1} == dict.fromkeys(broken, 2)
    assert figures(again) == before


# --- the commands one by one ---


def test_the_commands_in_their_order_as_users_run_them(place, python_m, command_line):
    """Nothing is there at the start."""
    last = ["experiment=synthetic", *place.overrides]
    pair = ["source=scratch", "target=synthetic_ball"]
    steps = {
        "benchmark.prepare": ["task=synthetic_ball", "suite=synthetic", *place.overrides],
        "benchmark.pretrain": ["source=scratch", *last],
        "benchmark.truth": [*pair, *last],
        "benchmark.score": [*pair, "metric=[logme]", *last],
    }
    for module, overrides in steps.items():
        done = python_m(module, *overrides)
        assert done.returncode == 0, done.stdout + done.stderr
    assert counts(place) == {(stage, "FINISHED"): 1 for stage in ("prepare", "pretrain", "truth", "score")}
    (score,) = place.store().finished("score").values()
    assert score.params["metrics"] == "logme"
    assert {"logme", "seconds/logme", "seconds/pass"} <= set(score.metrics)
    logs = {path.name for path in (place.folder / "outputs" / "hydra").iterdir()}
    assert logs == {"prepare", "pretrain", "truth", "score"}
    prepared = place.folder / "outputs" / "prepared"
    cases = len(list(prepared.glob("*/case.json")))
    assert cases == 8  # the target's 4 training, 2 validation and 2 test cases; the source was trained on none
    done = command_line("prepare", "--clean", *place.overrides)
    assert done.code == 0
    assert f"deleted {cases} prepared cases" in done.out + done.err
    assert list(prepared.glob("*/case.json")) == []


def test_correlate_reads_the_whole_store(bench, again, python_m):
    before = counts(again)
    done = python_m("analysis.correlate", "experiment=synthetic", CHOSEN, *again.overrides)
    assert done.returncode == 0, done.stdout + done.stderr
    assert table(done.stdout) == table(bench[1].stdout)
    assert counts(again) == before


def test_metrics_are_chosen_and_saved_statistics_read(again, command_line):
    pair = ["source=scratch", "target=synthetic_ball", "experiment=synthetic", *again.overrides]
    before = {row.params["source"]: row for row in again.store().finished("score").values()
              if row.params["target"] == "synthetic_ball"}["scratch"]  # fmt: skip
    done = command_line("score", "metric=[ccfv,logme]", *pair)
    assert done.code == 0, done.err
    row = list(again.store().finished("score").values())[-1]
    assert row.params["metrics"] == "ccfv,logme"
    assert row.tags["statistics"] == "read"
    assert row.tags["pass_key"] == before.tags["pass_key"]
    assert {name: row.metrics[name] for name in ("ccfv", "logme")} == {
        name: before.metrics[name] for name in ("ccfv", "logme")
    }


def test_a_metric_that_asks_for_more_is_streamed_anew(again, command_line):
    pair = ["source=scratch", "target=synthetic_ball", "experiment=synthetic", *again.overrides]
    done = command_line("score", "metric=[ccfv]", "metric.ccfv.seed=5", *pair)
    assert done.code == 0, done.err
    assert list(again.store().finished("score").values())[-1].tags["statistics"] == "computed"


def test_a_multirun_of_truth(again, command_line):
    done = command_line(
        "truth", "-m", "source=scratch,synthetic_drop", "target=synthetic_ball,synthetic_pebble", "seeds=[7]",
        "hydra/launcher=basic", "experiment=synthetic", *again.overrides,
    )  # fmt: skip
    assert done.code == 0, done.err
    new = [row for row in again.store().finished("truth").values() if row.params["seed"] == "7"]
    assert {(row.params["source"], row.params["target"]) for row in new} == {
        (source, target) for source in ("scratch", "synthetic_drop") for target in TARGETS
    }


def test_several_seeds_of_one_pair_skip_those_that_are_finished(again, command_line):
    pair = ["source=scratch", "target=synthetic_ball", "experiment=synthetic", *again.overrides]
    assert command_line("truth", "seeds=[0,1,8]", *pair).code == 0
    after = counts(again)["truth", "FINISHED"]
    assert after == RUNS["truth"] + 1
    assert command_line("truth", "seeds=[8,0,1]", *pair).code == 0
    assert counts(again)["truth", "FINISHED"] == after


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_the_command_and_its_choices(command_line, command):
    done = command_line(command, "--help")
    assert done.code == 0
    assert done.out.startswith(f"{command} is powered by Hydra.")
    assert re.search(r"experiment: (\w+, )*scans, synthetic", done.out)
    assert "tracking:" in done.out


@pytest.mark.parametrize("command", COMMANDS)
def test_the_config_of_a_job_is_shown(command_line, command):
    done = command_line(
        command, "--cfg", "job", "--resolve", *([] if command == "prepare" else ["experiment=synthetic"])
    )
    assert done.code == 0, done.err
    assert "uri: sqlite:///mlflow.db" in done.out
    assert "threads: 1" in done.out
    assert "${" not in done.out


@pytest.mark.bad_input
@pytest.mark.parametrize("command", ["truth", "score"])
def test_a_source_that_was_not_pre_trained_is_named(study, command_line, command):
    done = command_line(command, "source=scratch", "target=synthetic_ball", "experiment=synthetic", *study.overrides)
    assert done.code == 2
    advice = "run `python -m benchmark.pretrain source=scratch` first"
    assert done.err == f"error: source scratch is not pre-trained; {advice}\n"


@pytest.mark.bad_input
def test_correlating_an_empty_store_is_told(place, command_line):
    done = command_line("correlate", "experiment=synthetic", *place.overrides)
    assert done.code == 2
    assert done.err.startswith("error: tracking.uri: sqlite:")
    assert done.err.endswith("must hold finished truth jobs of suite synthetic, got none\n")


@pytest.mark.bad_input
def test_a_family_of_an_unknown_source_is_named(place, command_line):
    done = command_line("correlate", "experiment=synthetic", "+suite.families.nobody=swin", *place.overrides)
    assert done.code == 2
    assert done.err == "error: suite.families must name sources of suite synthetic, got nobody\n"
