"""A real nnU-Net from end to end: trained here by nnU-Net itself, looked at, scored, fine-tuned both ways, ranked.

Two tasks of the scans suite are written as nnU-Net raw datasets; the source is trained on the liver by the spleen's
plans, cut to three narrow stages. The whole file shares that source.
"""

import contextlib
import io
import json
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from benchmark.data.preprocessing.planning import preparation_from_plans
from benchmark.data.tasks.opening import cutting_code
from benchmark.features.taps import Taps
from benchmark.jobs.cli import prepare_config
from benchmark.sources.model import Model
from benchmark.sources.opening import open_source
from benchmark.sources.weights.match import transfer
from benchmark.training.nnunet.dataset import STORED, NnunetSpace, write_dataset
from benchmark.training.nnunet.pretraining import pretrain
from tests.command_fixtures import module_of, untouched_process
from tests.quick_nnunet import quick_nnunet

pytestmark = [pytest.mark.nnunet, pytest.mark.slow]

COUNTS = {"liver": {"source_train": 4, "source_validation": 0}, "spleen": {"train": 3, "test": 2}}
ROUNDING = 1e-6  # nnU-Net counts voxels in float64
TINY = ["trainer.budget.iterations=1", "trainer.budget.epochs=2", "trainer.budget.patch=[32,32,32]",
        "trainer.budget.batch=2", "trainer.processes=1", "trainer.mirroring=false"]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def quick():
    """nnU-Net is quick in this process; in that of a command, which `tuned` starts, it is as its users have it."""
    with quick_nnunet():
        yield


@pytest.fixture(scope="module")
def home(make_place):
    return make_place("nnunet")


@pytest.fixture(scope="module")
def raw(home, compose_command) -> dict[str, Path]:
    """The two tasks as nnU-Net raw datasets, as a user has them."""
    space, found = NnunetSpace(home.folder / "user"), {}
    for name, counts in COUNTS.items():
        cut = [f"task.counts.{split}={counts.get(split, 0)}" for split in
               ("source_train", "source_validation", "train", "test", "external")]  # fmt: skip
        node = compose_command("prepare", f"task={name}", f"data_dir={home.folder / 'data'}", *cut).task
        task = instantiate(node)
        task.prepare(home.folder / "packages", code=cutting_code(node))
        first, *others = [split for split, count in counts.items() if count]
        found[name] = space.raw / write_dataset(task, space, train=first, held_out=others).name
    return found


@pytest.fixture(scope="module")
def chosen(home, raw) -> list[str]:
    """What every command gets of the target."""
    return ["target=nnunet", f"target.folder={raw['spleen']}", "target.name=spleen", "target.test_share=0.4",
            *home.overrides]  # fmt: skip


@pytest.fixture(scope="module")
def training(raw, chosen) -> list[str]:
    """How the source is trained: two epochs of eight steps."""
    return ["task=nnunet", f"task.folder={raw['liver']}", "task.name=liver", "task.test_share=0.25", *chosen, *TINY,
            "trainer.budget.iterations=8", "trainer.mirroring=true", "pretraining.features=[8,16,32]",
            "pretraining.name=nnunet_liver"]  # fmt: skip


@pytest.fixture(scope="module")
def trained(home, training):
    """The row of the source, trained by the command."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stdout(printed), untouched_process():
        patched.setattr(sys, "argv", ["pretrain_nnunet", *training])
        prepare_config()
        module_of("pretrain_nnunet").main()
    assert "Please cite" not in printed.getvalue()
    (row,) = home.store("scans").finished("pretrain").values()
    return row


@pytest.fixture(scope="module")
def folder(trained) -> Path:
    return Path(trained.tags["folder"])


@pytest.fixture(scope="module")
def source(folder) -> list[str]:
    return ["source=nnunet", f"source.path={folder}", "source.name=nnunet_liver"]


@pytest.fixture(scope="module")
def predictor(folder):
    """nnU-Net's own, with the folder's weights in its network."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    made = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
    made.initialize_from_trained_model_folder(str(folder), use_folds=(0,))
    made.network.load_state_dict(made.list_of_parameters[0])
    return made


@pytest.fixture(scope="module")
def model(home, source, compose_command) -> Model:
    return open_source(compose_command("score", *source, *home.overrides).source, home.store(), home.folder)


@pytest.fixture(scope="module")
def target(chosen, compose_command):
    return instantiate(compose_command("truth", *chosen).target)


@pytest.fixture(scope="module")
def trainer(chosen, compose_command):
    return instantiate(compose_command("truth", "trainer=nnunet", *chosen, *TINY).trainer)


@pytest.fixture(scope="module")
def tuned(home, source, chosen, python_m):
    """The row of the truth that nnU-Net made."""
    done = python_m("benchmark.truth", *source, *chosen, "trainer=nnunet", *TINY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Please cite" not in done.stdout
    return next(row for row in home.store("scans").finished("truth").values() if row.params["tune"] == "all")


def test_nnunet_itself_reads_what_it_trained(trained, folder, predictor, target):
    """The folder is one of nnU-Net's own, by the target's plans, which were moved."""
    plans = json.loads((folder / "plans.json").read_text(encoding="utf-8"))
    assert "Liver" in plans["dataset_name"]
    own = preparation_from_plans(plans, "3d_fullres")
    assert own.normalisation.schemes[0].name == "ZScoreNormalization"  # as the target's yaml says
    assert plans["configurations"]["3d_fullres"]["patch_size"] == [32, 32, 32]
    assert folder.name.startswith("nnUNetTrainer__")
    assert trained.params["plans"] == target.name
    assert trained.metrics["parameters"] == sum(weight.numel() for weight in predictor.network.parameters())
    assert (trained.params["width"], trained.metrics["cases"]) == ("8", 3)
    assert 0.0 <= trained.metrics["dice"] <= 1.0


def test_a_source_whose_training_was_stopped_goes_on(home, trained, training, compose_command, tmp_path):
    """To the losses, Dice and files of the one that was not stopped, from the state of its first epoch."""
    once = instantiate(compose_command("pretrain_nnunet", *training).pretraining)
    source = replace(once, name="again", trainer=replace(once.trainer, keep_every=0.0))
    with pytest.raises(Stopped):
        pretrain(source, report=stop_at(10), folder=tmp_path)
    steps = []
    again = pretrain(source, report=lambda step, _: steps.append(step), folder=tmp_path)
    assert steps == list(range(9, 17))
    history = home.store("scans").client.get_metric_history(trained.run, "loss")
    assert again.losses == [entry.value for entry in sorted(history, key=lambda entry: entry.step)]
    assert again.dice == trained.metrics["dice"]
    assert (again.folder / "fold_0" / "checkpoint_final.pth").is_file()


def test_inspect_tells_what_it_is(home, source, command_line):
    done = command_line("inspect", *source, *home.overrides)
    assert done.code == 0, done.err
    for told in ("plainconvunet, 3D", "decoder.stages.1", "checkpoint_final.pth", "32 x 32 x 32"):
        assert told in done.out


def test_features_at_the_taps_are_those_of_nnunet_s_own_network(model, predictor, target):
    """The same patch through both: not a bit differs, at any tap or in the logits."""
    case = target.cases("test", model.preparation)[0]
    patch = case.image[None, :, :32, :32, :32]
    predictor.network.eval()
    assert model.arch.taps == ("decoder.stages.0", "decoder.stages.1")
    found = []
    for network in (model.network(), predictor.network):
        with torch.inference_mode(), Taps(network, model.arch.taps) as taps:
            logits = network(patch)
            found.append([*taps.take(), logits])
    assert [tensor.shape[1] for tensor in found[0]] == [16, 8, 2]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*found, strict=True))


def test_it_is_scored(home, source, chosen, command_line):
    done = command_line("score", *source, *chosen, "metric=[ccfv,logme,leep]")
    assert done.code == 0, done.err
    (row,) = home.store("scans").finished("score").values()
    assert all(np.isfinite(row.metrics[name]) for name in ("ccfv", "logme", "leep"))


def test_monai_tunes_it(home, source, chosen, command_line):
    budget = ["trainer.budget.steps=2", "trainer.budget.patch=[16,16,16]", "trainer.tune=decoder"]
    done = command_line("truth", *source, *chosen, *budget)
    assert done.code == 0, done.err
    row = next(row for row in home.store("scans").finished("truth").values() if row.params["tune"] == "decoder")
    assert 0.0 <= row.metrics["dice"] <= 1.0
    assert row.metrics["fresh"] == sum("seg_layers" in name for name in _fresh(home, row))


def _fresh(home, row) -> list[str]:
    path = home.store("scans").download(row.run, "transfer.json", home.folder / "read" / row.run)
    return list(json.loads(path.read_text(encoding="utf-8"))["fresh"])


def test_nnunet_s_truth_is_its_own_validation(home, tuned, target, trainer):
    """Dice of the files that nnU-Net wrote, counted anew."""
    (place,) = (Path(trainer.folder) / "runs").glob("nnunet_liver_to_spleen_seed0_*")
    found = []
    for case in target.cases("test", STORED):
        one = np.asarray(nib.load(place / "test" / "validation" / f"{case.name}.nii.gz").dataobj) == 1
        other = case.labels.numpy() == 1
        found.append(2 * (one & other).sum() / (one.sum() + other.sum()))
    assert tuned.metrics["dice"] == pytest.approx(np.mean(found), abs=ROUNDING)
    summary = json.loads((place / "test" / "validation" / "summary.json").read_text(encoding="utf-8"))
    assert tuned.metrics["dice"] == pytest.approx(summary["foreground_mean"]["Dice"], abs=ROUNDING)
    assert all("seg_layers" in name for name in _fresh(home, tuned))


class Stopped(Exception):
    """The process is killed."""


def stop_at(last):
    """A report that stops a training after so many steps."""

    def report(step, _):
        if step == last:
            raise Stopped

    return report


def _environment():
    """The environment without what torch sets once in a process, when its compiler is imported."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TORCHINDUCTOR")}


def test_equal_seeds_give_equal_truths_even_to_a_training_that_was_stopped(tuned, model, target, trainer, tmp_path):
    """A second time, from Python, stopped in its second epoch and gone on; the process is left as it was."""
    before, state = _environment(), torch.get_rng_state()
    keeping = replace(trainer, keep_every=0.0)
    tune = partial(keeping.fine_tune, model, target, target.preparation, seed=0, folder=tmp_path)
    with pytest.raises(Stopped):
        tune(report=stop_at(2))
    steps = []
    again = tune(report=lambda step, _: steps.append(step))
    assert _environment() == before
    assert torch.equal(torch.get_rng_state(), state)
    assert steps == [2]
    assert len(again.losses) == 2
    assert np.mean([dice for (dice,) in again.dice.values()]) == tuned.metrics["dice"]
    assert again.losses[-1] == tuned.metrics["loss"]
    for case, predicted in again.examples.values():
        assert case.name in target.names("test")
        assert predicted.shape == case.labels.shape


def test_a_race_s_rungs_give_the_losses_of_the_truth(tuned, model, target, trainer, tmp_path):
    """The truth's test cases are the validation cases of the race; it pauses after the first of two epochs."""
    racing = replace(target, held_out="validation")
    advance = partial(trainer.advance, model, racing, racing.preparation, seed=0, folder=tmp_path)
    assert trainer.rungs == {"half": 1, "full": 2}
    half, full = advance(rung="half"), advance(rung="full")
    assert half.losses == full.losses[:1]
    assert full.losses[-1] == tuned.metrics["loss"]
    assert np.mean([dice for (dice,) in full.rung.dice.values()]) == tuned.metrics["dice"]
    assert (half.rung.steps, full.rung.steps) == (1, 2)
    training = [done.rung.seconds - done.rung.validation_seconds for done in (half, full)]
    assert 0 < training[0] < training[1]
    assert min(half.rung.validation_seconds, full.rung.validation_seconds) > 0
    assert advance(rung="half").rung == half.rung  # kept, though the state is past it


def test_weights_are_taken_over_as_nnunet_does(model, folder):
    from nnunetv2.run.load_pretrained_weights import load_pretrained_weights

    ours, theirs = (model.arch.build(channels=1, classes=4, seed=5) for _ in range(2))
    transfer(ours, model.weights, head=model.arch.head)
    load_pretrained_weights(theirs, str(folder / "fold_0" / "checkpoint_final.pth"))
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(tensor, ours.state_dict()[name]), name


def test_another_s_network_goes_through_nnunet_s_loop(compose_command, target, trainer):
    arch = instantiate(compose_command("pretrain", "source=scratch", "source.arch.width=4").source.arch)
    made = Model("made", arch, arch.build(channels=1, classes=5, seed=42).state_dict(), channels=1, classes=5)
    head = replace(trainer, budget=replace(trainer.budget, patch=(20, 30, 24)), tune="head")
    outcome = head.fine_tune(made, target, target.preparation, seed=3)
    assert len(outcome.losses) == 2
    assert all(name.startswith(("output_block", "heads", "skip_layers")) for name in outcome.transfer.fresh)
    (place,) = (Path(trainer.folder) / "runs").glob("made_to_spleen_seed3_*")
    plans = json.loads(next(place.rglob("plans.json")).read_text(encoding="utf-8"))
    assert plans["configurations"]["3d_fullres"]["patch_size"] == [24, 32, 24]  # the nearest that it takes


def test_rank_takes_the_folder(home, raw, folder, command_line):
    done = command_line("rank", f"task={raw['spleen']}", f"source={folder}", "metric=[ccfv,logme]", "draws=10",
                        f"output_dir={home.folder / 'outputs'}")  # fmt: skip
    assert done.code == 0, done.err
    assert "nnUNetTrainer" in done.out or "Liver" in done.out
