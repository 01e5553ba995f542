"""One source never stops a ranking: what it raises is its own reason, and the others are ranked. The target does."""

import errno
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from benchmark.ranking import case_passes as passes
from benchmark.ranking import ranker as outcomes
from benchmark.ranking import window_timing
from benchmark.statistics import case_cache
from tests.checkpoints import write_nnunet

HERE = "tests.end_to_end.failing_networks"
QUICK = ["draws=20", "draws_of_points=2"]
FEW, SEVERAL = "metric=[logme]", "metric=[ccfv,logme,leep,ncti]"
SCORED = ["Healthy", "Wide", "Wider", "NoMemoryInTraining", "RaisesInTraining", "NanFeatures", "deeply_supervised",
          "ExitsInTraining"]  # fmt: skip
PASS = r"in its forward pass of case synthetic_ball_train_00, 2 windows of 24x24x24 voxels at a time"
STEP = "in a training step with one window of 24x24x24 voxels"
SKIPPED = {
    "RaisesWhenMade": "OwnError while it was opened: no network; traceback in LOGS/RaisesWhenMade.log",
    "RaisesInThePass": f"OwnError {PASS}: this case is too hard; traceback in LOGS/RaisesInThePass.log",
    "RaisesOSErrorInThePass": f"FileNotFoundError {PASS}: [Errno 2] No such file or directory: '/no/such/table.npy'; "
                              "traceback in LOGS/RaisesOSErrorInThePass.log",
    "DiskFullInThePass": f"OSError {PASS}: [Errno 28] No space left on device: '/dev/shm/its_own'; "
                         "traceback in LOGS/DiskFullInThePass.log",
    "ExitsWhenMade": "it called sys.exit('usage: make') while it was opened; traceback in LOGS/ExitsWhenMade.log",
    "ExitsInThePass": f"it called sys.exit(0) {PASS}; traceback in LOGS/ExitsInThePass.log",
    "RaisesNoExceptionInThePass": f"Unknown {PASS}: base; traceback in LOGS/RaisesNoExceptionInThePass.log",
    "NoMemoryInThePass": f"out of memory {PASS}; a smaller stream.batch takes less",
    "NanWeights": "its weights hold NaN or inf in head.weight",
    "NoDecoder": f"{HERE}:NoDecoder: no layer was found that feeds its segmentation head",
}  # fmt: skip
UNKNOWN_COST = {
    "NoMemoryInTraining": f"out of memory {STEP}",
    "RaisesInTraining": f"OwnError {STEP}: only for inference; traceback in LOGS/RaisesInTraining.log",
    "ExitsInTraining": f"it called sys.exit() {STEP}; traceback in LOGS/ExitsInTraining.log",
}


@pytest.fixture(scope="module")
def ball(prepared):
    return prepared / "synthetic" / "synthetic_ball"


def sources(*names):
    return f"source=[{','.join(f'{HERE}:{name}' for name in names)}]"


@pytest.fixture
def rank(command_line, tmp_path, monkeypatch):
    """Ranks networks of `failing_networks`, or what else is named, into a folder of this test's own."""
    monkeypatch.setenv("COLUMNS", "400")  # so that no reason is broken into lines

    monkeypatch.setattr(window_timing, "REPEATS", 1)  # no test compares the estimate of time

    def run(task, pool, *overrides, metrics=FEW):
        return command_line("rank", f"task={task}", pool, f"output_dir={tmp_path}/outputs", metrics,
                            f"tracking.uri=sqlite:///{tmp_path}/mlflow.db", *QUICK, *overrides)  # fmt: skip

    return run


@pytest.fixture
def written(tmp_path):
    """Reads what was written for a task."""

    def read(task="synthetic_ball"):
        folder = tmp_path / "outputs" / "rank" / task
        content = json.loads((folder / "ranking.json").read_text(encoding="utf-8"))
        return content, pd.read_csv(folder / "ranking.csv", index_col="source"), folder

    return read


def test_what_one_source_raises_is_its_own_reason(rank, ball, written):
    done = rank(ball, sources(*SCORED, *SKIPPED), metrics=SEVERAL)
    assert done.code == 0, done.err
    content, table, folder = written()
    reasons = {name: why.replace("LOGS", str(folder / "logs")) for name, why in SKIPPED.items()}
    unknown = {name: why.replace("LOGS", str(folder / "logs")) for name, why in UNKNOWN_COST.items()}
    assert content["skipped"] == reasons
    assert {line["source"] for line in content["ranking"]} == set(SCORED)
    costs = {line["source"]: line for line in content["costs"]}
    assert {name: line["fine_tuning_reason"] for name, line in costs.items() if line["fine_tuning_reason"]} == unknown
    for name, line in costs.items():
        assert (line["fine_tuning_seconds"] is None) == (name in unknown), name
    page = (folder / "ranking.html").read_text(encoding="utf-8")
    for name, why in (reasons | unknown).items():
        line = f"{name}: skipped: {why}" if name in reasons else f"{name}: the cost of fine-tuning is not known: {why}"
        assert line in done.out
        assert line.replace("'", "&#39;") in page
        assert why in table.loc[name, ["skipped", "fine_tuning_reason"]].tolist()
    logged = {name for name, why in (SKIPPED | UNKNOWN_COST).items() if "LOGS" in why or "memory" in why}
    assert {path.stem for path in (folder / "logs").iterdir()} == logged
    assert "in_the_pass" in (folder / "logs" / "RaisesInThePass.log").read_text(encoding="utf-8")  # the traceback
    assert "(5 of 8 sources)" in done.out  # whose cost of fine-tuning is in the sum
    assert np.isnan(table.loc["NanFeatures", ["ccfv", "logme", "leep", "ncti", "standing"]].astype(float)).all()
    without = {one["metric"] for one in content["reasons"] if one["source"] == "NanFeatures"}
    assert without == {"ccfv", "logme", "leep", "ncti"}
    healthy = table.loc[["Healthy", "Wide", "Wider", "deeply_supervised"]]
    assert healthy[["ccfv", "logme", "leep", "ncti", "standing", "standing_low"]].notna().all(axis=None)


def test_others_have_the_scores_that_they_have_without_it(rank, ball, written):
    columns = ["place", "ccfv", "logme", "leep", "ncti", "standing", "standing_low", "standing_high"]
    names = ["Healthy", "Wide", "Wider"]
    assert rank(ball, sources("NanFeatures", "ChangesSettings", *names, "RaisesInThePass"), metrics=SEVERAL).code == 0
    together = written()[1].loc[names, columns]
    assert rank(ball, sources(*names), metrics=SEVERAL).code == 0
    pd.testing.assert_frame_equal(written()[1].loc[names, columns], together)


def test_a_source_that_changes_the_folder_is_scored_where_paths_are_relative(
    rank, ball, written, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ball, "ball")
    done = rank("ball", sources("ChangesFolder", "Healthy"), "output_dir=outputs")
    assert done.code == 0, done.err
    assert {line["source"] for line in written("ball")[0]["ranking"]} == {"ChangesFolder", "Healthy"}


def test_a_program_that_a_source_imports_and_that_ends_is_skipped(rank, ball, written, tmp_path, monkeypatch):
    (tmp_path / "a_program.py").write_text("import argparse\nargparse.ArgumentParser().parse_args(['--no-such'])\n")
    monkeypatch.syspath_prepend(tmp_path)
    done = rank(ball, f"source=[a_program:Net,{HERE}:Healthy]")
    assert done.code == 0, done.err
    content, _, folder = written()
    why = f"it called sys.exit(2) while its files were read; traceback in {folder / 'logs' / 'Net.log'}"
    assert content["skipped"] == {"Net": why}


def test_where_all_fail_one_line_says_why(rank, ball):
    done = rank(ball, sources("NanWeights", "NoMemoryInThePass"))
    assert done.code == 2
    assert done.err.splitlines()[-1] == (
        f"error: none of the sources could be scored: NanWeights: {SKIPPED['NanWeights']}; "
        f"NoMemoryInThePass: {SKIPPED['NoMemoryInThePass']}"
    )


def test_scores_are_kept_before_the_cost_is_measured(rank, ball, written, monkeypatch):
    def interrupted(*given, **named):
        raise KeyboardInterrupt

    measure = outcomes.step_seconds
    monkeypatch.setattr(outcomes, "step_seconds", interrupted)
    assert rank(ball, sources("Healthy", "Wide")).code == 130
    monkeypatch.setattr(outcomes, "step_seconds", measure)
    forwarded = []
    forward = passes.reduce_stream
    monkeypatch.setattr(passes, "reduce_stream", lambda network, *given, **named: (
        forwarded.append(type(network).__name__) or forward(network, *given, **named)
    ))  # fmt: skip
    assert rank(ball, sources("Healthy", "Wide")).code == 0
    assert set(forwarded) == {"Wide"}
    assert all(line["fine_tuning_seconds"] > 0 for line in written()[0]["costs"])


def test_a_cost_that_failed_is_measured_again_and_a_known_one_is_not(rank, ball, written, monkeypatch):
    assert rank(ball, sources("Healthy", "RaisesInTraining")).code == 0
    before = written()[0]["costs"]
    measured = []
    monkeypatch.setattr(passes, "reduce_stream", None)
    monkeypatch.setattr(outcomes, "step_seconds", lambda network, **named: measured.append(type(network).__name__) or 2)
    assert rank(ball, sources("Healthy", "RaisesInTraining")).code == 0
    assert measured == ["RaisesInTraining"]
    after = written()[0]["costs"]
    assert after[0] == before[0]
    assert (after[1]["fine_tuning_seconds"] > 0, after[1]["fine_tuning_reason"]) == (True, "")


@pytest.mark.slow
def test_a_source_that_kills_the_process_while_it_is_opened_is_skipped_in_the_end(
    python_m, rank, ball, tmp_path, written
):
    command = ("benchmark.rank", f"task={ball}", sources("KilledWhenTried", "Healthy"),
               f"output_dir={tmp_path}/outputs", FEW, *QUICK)  # fmt: skip
    assert [python_m(*command).returncode for _ in range(2)] == [-9, -9]
    done = rank(ball, sources("KilledWhenTried", "Healthy"))
    assert done.code == 0, done.err
    (why,) = written()[0]["skipped"].values()
    assert why.startswith("the process was killed 2 times while it was opened and forwarded one window, probably ")


@pytest.mark.slow
def test_a_process_that_is_killed_in_a_training_step_leaves_the_scores(python_m, rank, ball, tmp_path, written):
    command = ("benchmark.rank", f"task={ball}", sources("KilledInTraining", "Healthy"),
               f"output_dir={tmp_path}/outputs", FEW, *QUICK)  # fmt: skip
    assert python_m(*command).returncode == -9
    done = rank(ball, sources("KilledInTraining", "Healthy"))
    assert done.code == 0, done.err
    content, _, _ = written()
    assert {line["source"] for line in content["ranking"]} == {"KilledInTraining", "Healthy"}
    reason = content["costs"][0]["fine_tuning_reason"]
    assert reason.startswith(f"the process was killed {STEP}, probably because memory ran out; delete ")


def test_a_source_whose_pass_killed_the_process_twice_is_skipped(rank, ball, written, tmp_path):
    assert rank(ball, sources("Healthy")).code == 0
    cache = tmp_path / "outputs" / "rank" / "cache"
    shutil.rmtree(cache / "outcomes")
    (entry,) = (cache / "passes").glob("*/synthetic_ball_train_02-*/")
    shutil.rmtree(entry)
    marker = entry.with_name(f"{entry.name}.attempt")
    marker.write_text("2 0 0 -")  # as the second process left it
    assert rank(ball, sources("Healthy", "Wide")).code == 0
    assert written()[0]["skipped"] == {
        "Healthy": "the process was killed 2 times in the forward pass of case synthetic_ball_train_02, "
        f"probably because memory ran out; delete {marker} to try again"
    }


def test_kept_statistics_that_are_corrupt_are_made_again(rank, ball, written, tmp_path):
    assert rank(ball, sources("Healthy", "Wide"), metrics=SEVERAL).code == 0
    before = written()[1][["ccfv", "logme", "leep", "standing"]]
    cache = tmp_path / "outputs" / "rank" / "cache"
    shutil.rmtree(cache / "outcomes")
    corrupt = [*(cache / "passes").rglob("moments.safetensors")][:2]
    for path in corrupt:
        path.write_bytes(b"corrupt")
    assert rank(ball, sources("Healthy", "Wide"), metrics=SEVERAL).code == 0
    pd.testing.assert_frame_equal(written()[1][["ccfv", "logme", "leep", "standing"]], before)
    assert all(path.read_bytes() != b"corrupt" for path in corrupt)


def test_a_metric_that_raises_for_a_source_is_nan_with_its_reason(rank, ball, written, monkeypatch):
    from baselines.logme import LogME

    compute = LogME.compute

    def fails(self, statistics):
        if statistics[self.requires[0]].d == 8:
            raise ZeroDivisionError("by the width of one source")
        return compute(self, statistics)

    monkeypatch.setattr(LogME, "compute", fails)
    assert rank(ball, sources("Healthy", "Wide", "Wider"), metrics="metric=[ccfv,logme]").code == 0
    content, table, folder = written()
    assert table["logme"].isna().to_dict() == {"Healthy": False, "Wide": True, "Wider": False}
    assert table["ccfv"].notna().all()
    why = f"ZeroDivisionError in logme: by the width of one source; traceback in {folder / 'logs' / 'Wide.log'}"
    assert {"source": "Wide", "metric": "logme", "reason": why} in content["reasons"]


@pytest.fixture
def plans_that_do_not_fit(tmp_path):
    """A results folder of nnU-Net whose voxels are larger than a case of the target."""
    place = write_nnunet(tmp_path / "Dataset501_Coarse")
    plans = json.loads((place / "plans.json").read_text(encoding="utf-8"))
    for configuration in plans["configurations"].values():
        configuration["spacing"] = [1e6] * 3
    (place / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    return place


def test_a_case_that_only_a_sources_plan_cannot_prepare_is_that_sources_skip(
    rank, ball, written, plans_that_do_not_fit
):
    done = rank(ball, f"source=[{plans_that_do_not_fit},{HERE}:Healthy,{HERE}:Wide]")
    assert done.code == 0, done.err
    (why,) = written()[0]["skipped"].values()
    assert why.startswith("spacing must leave a voxel along each axis")


@pytest.mark.bad_input
def test_a_case_of_the_target_that_cannot_be_read_stops(rank, ball, tmp_path, plans_that_do_not_fit):
    broken = tmp_path / "broken"
    shutil.copytree(ball, broken)
    case = broken / "imagesTr" / "synthetic_ball_train_02.nii.gz"
    case.write_bytes(case.read_bytes()[:100])
    for pool in (sources("Healthy", "Wide"), f"source=[{plans_that_do_not_fit.parent},{HERE}:Healthy]"):
        done = rank(broken, pool)
        assert done.code == 2
        assert done.err.splitlines()[-1].startswith(f"error: cannot read {case} as NIfTI: ")
        assert "Healthy: " not in done.out  # before any source is opened


@pytest.mark.bad_input
@pytest.mark.parametrize("where", ["statistics", "outcome"])
def test_a_full_disk_stops(rank, ball, tmp_path, monkeypatch, where):
    def full(path, *rest):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    if where == "statistics":
        monkeypatch.setattr(case_cache, "write_json", full)
    else:
        monkeypatch.setattr(outcomes.SourceOutcome, "save", lambda self, path: full(path))
    done = rank(ball, sources("Healthy", "Wide"))
    assert done.code == 2
    line = done.err.splitlines()[-1]
    assert line.startswith(f"error: cannot write {tmp_path}/outputs/rank/cache/")
    assert line.endswith("No space left on device; what is finished is kept, run again to resume")


def test_any_name_is_shown_as_it_is(rank, ball, written, tmp_path):
    from tests.checkpoints import small_network, write_weights

    names = ["[bold]x", "a$\\frac$b", "<b>c", "caf\udce9"]  # the last: a byte that is no UTF-8
    for seed, name in enumerate(names):
        write_weights(small_network("DynUNet", seed=seed), tmp_path / "pool" / f"{name}.pt")
    names[-1] = r"caf\udce9"
    done = rank(ball, f"source={tmp_path}/pool")
    assert done.code == 0, done.err
    assert set(written()[1].index) == set(names)
    assert all(name in done.out for name in names)
