"""`python -m benchmark.race`: candidates trained rung by rung, a winner that others open, failures, resumption."""

import errno
import json
import random
import shlex
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pandas as pd
import psutil
import pytest
import torch

from benchmark.racing import job
from benchmark.tracking.records import Stage
from benchmark.training.monai import MonaiTrainer

SMALL = ["prior=none", "monai.steps=8", "monai.patch=[16,16,16]", "monai.window=[16,16,16]"]
BASIC = ["hydra/launcher=basic"]
CASES = 12


@pytest.fixture(scope="module")
def own_data(tmp_path_factory, make_case):
    """A data set of one's own with a labelled test case that cannot be read."""
    return write_task(tmp_path_factory.mktemp("race") / "mine", make_case)


def write_task(folder, make_case, cases=CASES):
    import nibabel as nib

    listed = []
    for number in range(cases):
        case = make_case(seed=number, shape=(18, 16, 16))
        for part, volume in (("imagesTr", case.image[0]), ("labelsTr", case.labels)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(volume.numpy(), np.eye(4)), folder / part / f"{case.name}.nii.gz")
        listed.append(case.name)
    (folder / "imagesTs").mkdir()
    (folder / "labelsTs").mkdir()
    for part in ("imagesTs", "labelsTs"):
        (folder / part / "unread_00.nii.gz").write_bytes(b"nobody may read this")
    pairs = [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in listed]
    description = {"name": "mine", "modality": {"0": "CT"}, "labels": {"0": "background", "1": "a", "2": "b"},
                   "training": pairs, "test": ["./imagesTs/unread_00.nii.gz"]}  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


@pytest.fixture
def race(command_line, place, own_data):
    """Runs a race in a place of this test's own."""

    def run(*overrides, task=own_data, into=place):
        return command_line("race", *given(into, task), *BASIC, *overrides)

    return run


def given(place, task):
    """What every race gets."""
    return [f"task={task}", *SMALL, *place.overrides, "tracking.experiment=race"]


def written(place, task="mine"):
    return json.loads((place.folder / "outputs/race" / task / "race.json").read_text(encoding="utf-8"))


def rows(place):
    from benchmark.tracking import Store

    return list(Store(place.uri, "race", str(place.folder / "mlartifacts")).finished(Stage.RACE).values())


def sources(checkpoints, *names):
    return f"source=[{','.join(str(checkpoints[name]) for name in names)},scratch]"


FOUR = ("unet_3d", "dynunet_3d", "Dataset503_Made__3d_fullres")


@pytest.fixture(scope="module")
def raced(make_place, own_data, checkpoints, python_m):
    """A place with a finished race of four, and what was printed."""
    place = make_place("raced")
    done = python_m("benchmark.race", sources(checkpoints, *FOUR), *given(place, own_data), *BASIC, "register=best")
    assert done.returncode == 0, done.stdout + done.stderr
    return place, done.stdout


@pytest.mark.slow
def test_a_race_hands_over_a_checkpoint_that_other_commands_open(race, raced, checkpoints, command_line, own_data):
    place, printed = raced
    result = written(place)
    names = [candidate["source"] for candidate in result["candidates"]]
    assert sorted(names) == sorted([*FOUR, "scratch"])
    assert result["winner"] == names[0] == result["leader"]
    assert result["cases"] == {"training": 7, "validation": 5}
    assert len(result["decisions"][0]["standings"]) == 4
    assert result["steps"]["race"] <= 0.45 * result["steps"]["fine_tuning_all"]
    assert f"{names[0]} wins with a validation Dice" in " ".join(printed.split())
    table = pd.read_csv(place.folder / "outputs/race/mine/race.csv")
    assert list(table["source"]) == names
    page = (place.folder / "outputs/race/mine/race.html").read_text(encoding="utf-8")
    assert "data:image/png;base64" in page
    assert names[0] in page
    winner = place.folder / "outputs/race/mine/winner"
    shown = command_line("inspect", f"path={winner}", *place.overrides)
    assert shown.code == 0, shown.err
    assert "fine-tuned on mine" in shown.out
    few = ["metric=[logme]", "draws=3", "draws_of_points=2"]
    ranked = command_line("rank", f"task={own_data}", f"source={winner}", *few, *place.overrides)
    assert ranked.code == 0, ranked.err
    registered = command_line("inspect", "path=models:/best/1", *place.overrides)
    assert registered.code == 0, registered.err
    assert "fine-tuned on mine" in registered.out

    parents = [row for row in rows(place) if "winner" in row.params]
    jobs = [row for row in rows(place) if "rung" in row.params]
    assert len(parents) == 1
    assert {row.tags["mlflow.parentRunId"] for row in jobs} == {parents[0].run}
    assert len(jobs) == sum(len(decision["standings"]) for decision in result["decisions"])

    again = race(sources(checkpoints, *FOUR), "register=best", into=place)
    assert again.code == 0, again.err
    assert len(rows(place)) == len(jobs) + 1  # nothing was trained or written twice
    assert "models:/best/1" in again.out


SOME = ("unet_3d", "dynunet_3d", "unet_2d")


@pytest.mark.slow
def test_what_fails_is_the_candidate_s_own_reason_and_the_others_go_on(race, place, checkpoints, monkeypatch):
    whole = MonaiTrainer.advance
    fates = {
        "unet_3d": lambda report: report(1, float("nan")),
        "dynunet_3d": lambda report: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory")),
    }

    def advance(self, model, *arguments, report, **settings):
        if model.name in fates:
            fates[model.name](report)
        return whole(self, model, *arguments, report=report, **settings)

    monkeypatch.setattr(MonaiTrainer, "advance", advance)
    done = race(sources(checkpoints, *SOME))
    assert done.code == 0, done.err
    result = written(place)
    reasons = {candidate["source"]: candidate["reason"] for candidate in result["candidates"]}
    assert reasons["unet_3d"] == "the loss is nan at step 1"
    assert "out of memory in its training" in reasons["dynunet_3d"]
    assert {name for name, reason in reasons.items() if reason} == set(fates)
    assert result["winner"] not in fates
    printed = " ".join(done.out.split())
    assert "unet_3d: the loss is nan at step 1" in printed
    assert "2 candidates failed" in printed
    fates.clear()  # what was the matter is mended
    assert race(sources(checkpoints, *SOME)).code == 0
    assert "2 candidates failed" in " ".join(written(place)["verdict"].split())  # a failure is a result
    assert race(sources(checkpoints, *SOME), "--retry", "failed").code == 0
    assert {candidate["reason"] for candidate in written(place)["candidates"]} == {""}


@pytest.mark.slow
def test_a_full_disk_ends_the_race_in_one_line_and_another_run_resumes(race, place, checkpoints, monkeypatch):

    def full(state, path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        done = race(sources(checkpoints, "unet_3d", "dynunet_3d"))
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "No space left on device" in done.err
    assert "run again to resume" in done.err
    assert not any(row.tags.get("skipped") for row in rows(place))  # a full disk is no candidate's fault
    assert race(sources(checkpoints, "unet_3d", "dynunet_3d")).code == 0
    assert written(place)["winner"]


@pytest.mark.slow
def test_a_stopped_race_keeps_its_leader(race, place, checkpoints, monkeypatch, command_line):
    whole = MonaiTrainer.advance

    def advance(self, *arguments, rung, **settings):
        if rung == "half":
            raise KeyboardInterrupt
        return whole(self, *arguments, rung=rung, **settings)

    with monkeypatch.context() as patched:
        patched.setattr(MonaiTrainer, "advance", advance)
        done = race(sources(checkpoints, "unet_3d", "dynunet_3d"))
    assert done.code == 130, done.err
    stopped = written(place)
    assert stopped["winner"] is None
    assert stopped["leader"]
    assert stopped["stopped"] == "interrupted"
    winner = place.folder / "outputs/race/mine/winner"
    assert "stopped early, at 2 of 8 steps" in command_line("inspect", f"path={winner}", *place.overrides).out
    number = len(rows(place))
    asked = race(sources(checkpoints, "unet_3d", "dynunet_3d"), "stop=true")
    assert asked.code == 0, asked.err
    assert len(rows(place)) == number
    assert written(place)["leader"] == stopped["leader"]
    kept = {path: path.read_bytes() for path in (winner.parent / "race.json", winner / "weights.safetensors")}
    other = race(sources(checkpoints, "unet_3d", "dynunet_3d"), "stop=true", "monai.steps=16")
    assert other.code == 2
    assert "no rung of this race is finished (did a setting change?); nothing was written" in other.err
    assert {path: path.read_bytes() for path in kept} == kept
    assert race(sources(checkpoints, "unet_3d", "dynunet_3d")).code == 0
    assert written(place)["winner"]


@pytest.mark.slow
def test_a_ranking_chooses_the_candidates(race, place, checkpoints, command_line, own_data):
    pool = sources(checkpoints, "unet_3d", "dynunet_3d")
    done = race(pool, "prior=ranking", "keep=2", "rank=['metric=[logme]','draws=5','draws_of_points=2']")
    assert done.code == 0, done.err
    ranking = place.folder / "outputs/rank/mine/ranking.json"
    level = json.loads(ranking.read_text(encoding="utf-8"))["cannot_be_told_apart"]
    raced = {candidate["source"] for candidate in written(place)["candidates"]}
    assert raced == set(level[:2])
    command = shlex.split(json.loads(ranking.read_text(encoding="utf-8"))["command"])
    assert command[:3] == ["python", "-m", "benchmark.rank"]
    repeated = command_line("rank", *command[3:])
    assert repeated.code == 0, repeated.err
    assert json.loads(ranking.read_text(encoding="utf-8"))["cannot_be_told_apart"] == level
    shown = command_line("race", f"ranking={ranking}", "keep=2", "--dry-run", *BASIC, *SMALL[1:], *place.overrides)
    assert shown.code == 0, shown.err
    assert f"of {8 * len(raced)} steps" in shown.out
    assert "for training states" in shown.out
    assert "changed since" not in shown.out
    content = json.loads(ranking.read_text(encoding="utf-8"))
    content["digests"][level[0]] = "0" * 64
    ranking.write_text(json.dumps(content), encoding="utf-8")
    shown = command_line("race", f"ranking={ranking}", "keep=2", "--dry-run", *BASIC, *SMALL[1:], *place.overrides)
    assert f"changed since {ranking} was written: {level[0]}; " in " ".join(shown.out.split())


BAD = {
    "a misspelt switch": (["stop=flase"], "stop must be true or false, got flase"),
    "no trainer": (["~trainer"], "trainer must be a name in conf/trainer, such as monai or nnunet, got None"),
    "steps that are no number": (
        ["task=/nowhere", "monai.steps=abc"], "monai.steps must be a whole number of at least 1, got abc"
    ),
    "a fold that is not there": (["fold=3"], "splits_final.json"),
    "a ranking that is none": (["task=null", "ranking=nowhere.json"], "nowhere.json"),
    "both": (["ranking=nowhere.json", "source=scratch"], "give either ranking, or task and source"),
    "no task": (["task=null", "source=scratch"], "task must be a folder of labelled cases"),
    "settings of a ranking that is there": (
        ["task=null", "ranking=nowhere.json", "rank=['minutes=5']"],
        "rank is a setting of a new ranking and does not apply with ranking=nowhere.json",
    ),
    "no step": (["monai.steps=-3", "--dry-run"], "monai.steps must be a whole number of at least 1, got -3"),
    "a share and a fold": (["validation_share=0.2", "fold=0"], "validation_share does not apply; give either"),
}  # fmt: skip


@pytest.mark.bad_input
@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_one_line(case, command_line, place, own_data):
    overrides, message = BAD[case]
    given = (
        []
        if any(item.startswith(("task=", "ranking=")) for item in overrides)
        else [f"task={own_data}", "source=scratch"]
    )
    given = [f"task={own_data}", *given] if case == "both" else given
    done = command_line("race", *given, *BASIC, "prior=none", *place.overrides,
                        *(item for item in overrides if item != "task=null"))  # fmt: skip
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1


@pytest.mark.slow
def test_folds_of_ones_own(race, place, checkpoints, make_case, tmp_path):
    task = write_task(tmp_path / "folds", make_case, cases=4)
    names = sorted(path.name.removesuffix(".nii.gz") for path in (task / "labelsTr").iterdir())
    folds = [{"train": names[1:], "val": names[:1]}, {"train": names[:2], "val": names[2:]}]
    (tmp_path / "mine.json").write_text(json.dumps(folds), encoding="utf-8")
    done = race(sources(checkpoints, "unet_3d"), f"folds={tmp_path / 'mine.json'}", "fold=1", task=task)
    assert done.code == 0, done.err
    assert written(place, "folds")["cases"] == {"training": 2, "validation": 2}
    assert "every drop was forced" in " ".join(done.out.split())


def reported(place):
    """How much the jobs of a race have reported of their progress."""
    return [(path.stat().st_ino, path.stat().st_size) for path in place.folder.glob("outputs/race/*/progress.jsonl")]


def children():
    """All processes that this one has started, and those that they have started."""
    return set(psutil.Process().children(recursive=True))


@pytest.mark.kill
@pytest.mark.slow
def test_a_race_that_is_killed_again_and_again_ends_as_without(race, raced, place, checkpoints, own_data, python_m):
    """Three kills of all its processes at random moments; then it ends, with every job once and the same result."""
    pool = sources(checkpoints, *FOUR)
    expected = written(raced[0])
    moments = random.Random(7)
    idle, codes = children(), []
    for launcher in ("basic", "joblib", "basic"):
        settings = [pool, *given(place, own_data), "trainer.keep_every=0", f"hydra/launcher={launcher}"]
        with ThreadPoolExecutor(1) as beside:
            running = beside.submit(python_m, "benchmark.race", *settings)
            before, start = reported(place), time.monotonic()
            while not running.done() and reported(place) == before and time.monotonic() - start < 60:
                time.sleep(0.05)
            time.sleep(2 * moments.random())
            for process in children() - idle:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            codes.append(running.result().returncode)
    assert -signal.SIGKILL in codes
    assert set(codes) <= {-signal.SIGKILL, 0}  # it may have ended before the kill
    done = race(pool, "trainer.keep_every=0")
    assert done.code == 0, done.out + done.err
    found = written(place)
    timing = {"seconds", "checkpoint", "command", "plan", "points", "candidates", "notes", "verdict"}
    assert {k: v for k, v in found.items() if k not in timing} == {k: v for k, v in expected.items() if k not in timing}
    dice = [[(p["candidate"], p["rung"], p["dice"]) for p in result["points"]] for result in (found, expected)]
    assert sorted(dice[0]) == sorted(dice[1])
    keys = [row.key for row in rows(place)]
    assert len(keys) == len(set(keys)) == len(rows(raced[0]))
    assert not list((place.folder / "outputs").rglob(job.MARKER))


@pytest.mark.kill
@pytest.mark.slow
def test_a_candidate_that_kills_its_process_fails_and_the_others_end(place, own_data, python_m):
    """As the kernel does to the largest process where memory runs out; the launcher's other jobs die with it."""
    networks = ",".join(f"tests.end_to_end.failing_networks:{name}" for name in ("KilledInTraining", "Healthy"))
    pool = f"source=[{networks},scratch]"
    done = python_m("benchmark.race", pool, *given(place, own_data), "monai.steps=2", "hydra.launcher.n_jobs=2")
    assert done.returncode == 0, done.stdout + done.stderr
    result = written(place)
    reasons = {candidate["source"]: candidate["reason"] for candidate in result["candidates"]}
    assert set(reasons) == {"KilledInTraining", "Healthy", "scratch"}
    killed = (
        "the process was killed 2 times in its training, probably because memory ran out; run again with --retry failed"
    )
    assert reasons.pop("KilledInTraining").startswith(killed)
    assert set(reasons.values()) == {""}
    assert result["winner"] in reasons
