"""The MONAI trainer: one fine-tuning from a source's weights to Dice on every test case."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from benchmark.data.preprocessing.normalise import Normalisation
from benchmark.data.tasks.msd_layout import DecathlonTask
from benchmark.errors import InputError
from benchmark.sources.model import Model
from benchmark.sources.pretrained import Budget
from benchmark.training import monai
from benchmark.training.monai import MonaiTrainer

TRAINER = MonaiTrainer("decoder", Budget(steps=2, batch=2, patch=(16, 16, 16)), window=(24, 24, 24))


@pytest.fixture(scope="module")
def arch(compose_command):
    return instantiate(compose_command("pretrain", "source=scratch", "source.arch.width=4").source.arch)


@pytest.fixture(scope="module")
def weights(arch):
    return arch.build(channels=1, classes=5, seed=42).state_dict()


@pytest.fixture(scope="module")
def model(arch, weights):
    return Model("made", arch, weights, channels=1, classes=5)


@pytest.fixture(scope="module")
def target(prepared):
    return DecathlonTask("synthetic_ball", prepared / "synthetic" / "synthetic_ball", Normalisation((0.0, 1.0)))


@pytest.fixture(scope="module")
def outcome(model, target):
    steps = []
    done = TRAINER.fine_tune(model, target, target.preparation, seed=0, report=lambda step, loss: steps.append(step))
    assert steps == [1, 2]
    return done


def test_an_outcome_is_complete(outcome, target):
    names = target.names("test")
    assert list(outcome.dice) == names
    assert all(len(values) == target.classes - 1 for values in outcome.dice.values())
    assert all(0.0 <= value <= 1.0 for values in outcome.dice.values() for value in values)
    assert outcome.external == {}
    assert {name: rung.steps for name, rung in outcome.rungs.items()} == {
        "eighth": 1, "quarter": 1, "half": 1, "full": 2,
    }  # fmt: skip
    assert all(list(rung.dice) == target.names("validation") for rung in outcome.rungs.values())
    assert outcome.rungs["full"].seconds > 0
    assert outcome.rungs["half"].seconds > 0
    assert len(outcome.losses) == 2
    assert set(outcome.examples) == {"worst", "best"}
    for case, predicted in outcome.examples.values():
        assert case.name in names
        assert predicted.dtype == torch.uint8
        assert predicted.shape == case.labels.shape
    worst, best = (sum(outcome.dice[outcome.examples[kind][0].name]) for kind in ("worst", "best"))
    assert worst <= best


def test_all_but_the_head_came_from_the_source(outcome, weights):
    assert outcome.transfer.loaded
    assert all(name.startswith(("output_block", "heads", "skip_layers")) for name in outcome.transfer.fresh)
    assert {name for name in weights if name.startswith("output_block")} <= set(outcome.transfer.fresh)
    assert set(outcome.transfer.loaded) | set(outcome.transfer.fresh) == set(weights)


def test_equal_seeds_give_equal_outcomes_and_other_seeds_others(model, target, outcome):
    again = TRAINER.fine_tune(model, target, target.preparation, seed=0)
    assert again.losses == outcome.losses
    assert again.dice == outcome.dice
    assert TRAINER.fine_tune(model, target, target.preparation, seed=1).losses != outcome.losses


def test_the_source_s_weights_are_not_changed(model, weights, target):
    before = {name: value.clone() for name, value in weights.items()}
    replace(TRAINER, tune="all").fine_tune(model, target, target.preparation, seed=0)
    assert all(torch.equal(before[name], value) for name, value in weights.items())


def test_another_patient_is_measured_beside_the_test_cases(model, target, tmp_path, outcome):
    """The test cases listed as another patient's: their Dice must come out alike, and count for nothing else."""
    folder = shutil.copytree(target.folder, tmp_path / "task")
    path = folder / "dataset.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(description | {"external": description["test"]}), encoding="utf-8")
    splits = {"train": "training", "test": "test", "external": "external"}
    both = DecathlonTask("both", folder, target.normalisation, splits=splits)
    again = TRAINER.fine_tune(model, both, both.preparation, seed=0)
    assert again.external == outcome.dice
    assert again.dice == outcome.dice
    assert again.losses == outcome.losses  # measuring validation cases on the way changed nothing
    assert again.rungs == {}  # this task has none


def test_the_last_rung_measures_the_final_weights(model, target, tmp_path, outcome):
    """The test cases listed as validation cases, too."""
    folder = shutil.copytree(target.folder, tmp_path / "task")
    path = folder / "dataset.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(description | {"validation": description["test"]}), encoding="utf-8")
    both = DecathlonTask("both", folder, target.normalisation)
    again = TRAINER.fine_tune(model, both, both.preparation, seed=0)
    assert again.rungs["full"].dice == again.dice == outcome.dice
    assert again.rungs["half"].dice != again.dice


def test_no_test_case_is_predicted_before_the_last_rung(model, target, monkeypatch):
    events, predict = [], monai.predict

    def predicted(network, cases, **settings):
        for case, labels in predict(network, cases, **settings):
            events.append(case.name)
            yield case, labels

    monkeypatch.setattr(monai, "predict", predicted)
    TRAINER.fine_tune(model, target, target.preparation, seed=0, report=lambda step, loss: events.append(step))
    validation, test = target.names("validation"), target.names("test")
    assert events == [*validation, 1, *validation, 2, *test]


def test_labels_of_validation_cases_change_only_their_own_dice(model, target, tmp_path, outcome):
    folder = Path(shutil.copytree(target.folder, tmp_path / "task"))
    changed = DecathlonTask("changed", folder, target.normalisation)
    for files in changed.listed("validation"):
        stored = nib.load(files.labels)
        nib.save(nib.Nifti1Image(np.ones(stored.shape, np.uint8), stored.affine), files.labels)
    again = TRAINER.fine_tune(model, changed, changed.preparation, seed=0)
    assert (again.losses, again.dice) == (outcome.losses, outcome.dice)
    assert again.rungs["full"].dice != outcome.rungs["full"].dice


@pytest.mark.parametrize("steps", [0, -3, 2.5, True])
def test_a_fine_tuning_has_at_least_one_step(steps):
    with pytest.raises(InputError, match=f"monai.steps must be a whole number of at least 1, got {steps}"):
        MonaiTrainer("all", Budget(steps=steps))
