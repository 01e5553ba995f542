"""A task written as nnU-Net's raw dataset, and what nnU-Net's calls leave behind in the process: nothing."""

import importlib
import os
import random
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from benchmark.core.labels import IGNORED
from benchmark.data.embedded.synthetic import SyntheticTask
from benchmark.data.preprocessing.normalise import Normalisation
from benchmark.data.preprocessing.planning import environment
from benchmark.data.tasks.nnunet import NnunetTask
from benchmark.errors import InputError
from benchmark.training.nnunet.dataset import STORED, NnunetSpace, write_dataset
from benchmark.training.nnunet.loop import seeded
from benchmark.training.nnunet.trainer import NnunetBudget, read_dice


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("written")


@pytest.fixture(scope="module")
def task(place):
    made = SyntheticTask(
        "two pebbles", place / "task", Normalisation((0.0, 1.0)), organs=("pebble", "drop"), size=16, seed=2,
        splits={"train": "training", "test": "test"}, counts={"train": 3, "test": 2},
    )  # fmt: skip
    made.prepare(place)
    return made


@pytest.fixture(scope="module")
def space(place):
    return NnunetSpace(place / "nnunet")


@pytest.fixture(scope="module")
def written(task, space):
    return write_dataset(task, space, train="train", held_out=["test"])


def test_files_hold_what_is_stored(written, task, space):
    assert written.splits == ((tuple(task.names("train")), tuple(task.names("test"))),)
    folder = space.raw / written.name
    for split in ("train", "test"):
        for case in task.cases(split, STORED):
            image = nib.load(folder / "imagesTr" / f"{case.name}_0000.nii.gz")
            assert np.array_equal(image.get_fdata(dtype=np.float32), case.image[0].numpy())
            assert image.header.get_zooms() == case.spacing
            labels = nib.load(folder / "labelsTr" / f"{case.name}.nii.gz")
            assert np.array_equal(np.asarray(labels.dataobj), case.labels.numpy())
    assert written.description["labels"] == {"background": 0, "pebble": 1, "drop": 2}


def test_a_dataset_of_an_orientation_is_one_of_its_own_with_flipped_volumes(written, task, space):
    """Those of the task increase to the left, the back and above."""
    flipped = write_dataset(task, space, train="train", held_out=["test"], orientation="RAS")
    assert flipped.name != written.name
    name = task.names("test")[0]
    for part in (f"imagesTr/{name}_0000.nii.gz", f"labelsTr/{name}.nii.gz"):
        stored, turned = (nib.load(space.raw / data.name / part).get_fdata() for data in (written, flipped))
        assert np.array_equal(turned, stored[::-1, ::-1])
        assert not np.array_equal(turned, stored)


def test_it_reads_back_as_a_task(written, task, space):
    read = NnunetTask(space.raw / written.name, test_share=0.4)
    assert read.labels == task.labels
    cases = {case.name: case for split in ("train", "test") for case in read.cases(split)}
    for case in task.cases("test"):
        assert torch.equal(cases[case.name].labels, case.labels)


def test_it_is_written_once(written, task, space):
    folder = space.raw / written.name
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert write_dataset(task, space, train="train", held_out=["test"]) == written
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    other = write_dataset(task, space, train="test", held_out=["train"])
    assert other.name != written.name


def test_what_is_not_annotated_is_nnunet_s_ignore_label(place, task):
    class Partly(SyntheticTask):
        def cases(self, split, preparation=None):
            for case in super().cases(split, preparation):
                labels = case.labels.clone()
                labels[0] = IGNORED
                yield replace(case, labels=labels)

    partly = Partly(task.name, task.folder, task.normalisation, splits=task.splits, organs=task.organs)
    space = NnunetSpace(place / "partly")
    dataset = write_dataset(partly, space, train="train", held_out=["test"])
    assert dataset.description["labels"] == {"background": 0, "pebble": 1, "drop": 2, "ignore": 3}
    labels = nib.load(space.raw / dataset.name / "labelsTr" / f"{partly.names('test')[0]}.nii.gz").get_fdata()
    assert (labels[0] == 3).all()
    assert labels[1:].max() <= 2


def test_a_case_that_is_trained_on_and_tested_is_refused(task, place):
    both = replace(task, splits={"train": "training", "test": "training"})
    with pytest.raises(InputError, match="must list each case in one split, got two pebbles_train_00 in several"):
        write_dataset(both, NnunetSpace(place / "twice"), train="train", held_out=["test"])


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(InputError, match=r"trainer\.budget\.epochs must be a whole number of at least 1, got 0"):
        NnunetBudget(epochs=0)


def test_dice_is_read_by_case_and_class(tmp_path):
    """nnU-Net writes NaN as JSON's NaN, and a class that one of the two lacks as 0."""
    content = """{"metric_per_case": [
        {"reference_file": "/x/one.nii.gz", "metrics": {"1": {"Dice": 0.5}, "2": {"Dice": NaN}}},
        {"reference_file": "/x/two.nii.gz", "metrics": {"1": {"Dice": 0.0}, "2": {"Dice": 1.0}}}]}"""
    (tmp_path / "summary.json").write_text(content, encoding="utf-8")
    dice = read_dice(tmp_path, range(1, 3))
    assert dice["two"] == [0.0, 1.0]
    assert dice["one"][0] == 0.5
    assert np.isnan(dice["one"][1])


def test_seeds_and_variables_hold_inside_alone(tmp_path, capfd):
    def state():
        drawn = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), random.getstate()  # noqa: NPY002 - nnU-Net's
        return dict(os.environ), *drawn

    importlib.import_module("nnunetv2.training.nnUNetTrainer.nnUNetTrainer")  # whose imports set variables of their own
    before, drawn = state(), []
    space = NnunetSpace(tmp_path)
    for _ in range(2):
        with space.entered(tmp_path / "log.txt", results=tmp_path / "here"), seeded(7):
            variables = dict(os.environ)
            assert variables["nnUNet_results"] == str(tmp_path / "here")
            assert variables["nnUNet_n_proc_DA"] == "0"
            with environment({"nnUNet_n_proc_DA": "1"}):
                assert dict(os.environ)["nnUNet_n_proc_DA"] == "1"
            drawn.append((np.random.rand(), float(torch.rand(1)), random.random()))  # noqa: NPY002
            print("told")
    assert drawn[0] == drawn[1]
    assert state() == before
    assert (tmp_path / "log.txt").read_text(encoding="utf-8") == "told\ntold\n"
    assert "told" not in capfd.readouterr().out


@pytest.mark.parametrize("name", ["folder", "processes", "augment_processes"])
def test_where_nnunet_works_and_how_many_do_is_no_part_of_a_truth(compose_command, name):
    from benchmark.jobs.stage_keys import truth_keys

    one, other = (
        truth_keys(
            compose_command("truth", "trainer=nnunet", f"trainer.{name}={value}"), pretrained="source", data="data"
        )
        for value in (3, 4)
    )
    assert (one == other) == (name != "augment_processes")  # with which equal seeds give other truths


@pytest.mark.parametrize("experiment", ["scans", "synthetic"])
def test_an_experiment_s_settings_for_monai_leave_nnunet_alone(compose_command, experiment):
    from hydra.utils import instantiate

    trainer = instantiate(compose_command("truth", "trainer=nnunet", f"experiment={experiment}").trainer)
    assert (trainer.tune, trainer.budget) == ("all", NnunetBudget())
