"""A real nnU-Net, trained here by nnU-Net itself, and nnU-Net as the trainer; two tiny tasks, a narrow plan."""

import json
import os
import random
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from benchmark.core.labels import IGNORED
from benchmark.data.normalise import Normalisation
from benchmark.data.plans import preparation_from_plans
from benchmark.data.synthetic import SyntheticTask
from benchmark.errors import InputError, SkipPair
from benchmark.sources.architecture import Architecture
from benchmark.sources.model import Model
from benchmark.sources.transfer import transfer
from benchmark.training.dice import mean_dice
from benchmark.training.nnunet import NnunetBudget
from benchmark.training.nnunet_dataset import STORED, write_dataset
from benchmark.training.nnunet_source import NnunetPretraining, pretrain
from benchmark.training.nnunet_space import NnunetSpace, seeded

PATCH = (32, 32, 32)
ROUNDING = 1e-6  # nnU-Net counts voxels in float64


def make_task(folder: Path, name: str, organs: tuple[str, ...], seed: int, **settings) -> SyntheticTask:
    splits = {"source_train": "source_training", "source_validation": "source_validation", "train": "training",
              "test": "test"}  # fmt: skip
    counts = {"source_train": 3, "source_validation": 1, "train": 3, "test": 2}
    task = SyntheticTask(name, folder / name, Normalisation((0.0, 1.0)), organs=organs, size=32, seed=seed,
                         **({"splits": splits, "counts": counts} | settings))  # fmt: skip
    task.prepare(folder)
    return task


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("nnunet")


@pytest.fixture(scope="module")
def ball(place):
    return make_task(place, "ball", ("ball",), 1)


@pytest.fixture(scope="module")
def pebble(place):
    return make_task(place, "pebble", ("pebble", "drop"), 2)


@pytest.fixture(scope="module")
def trainer(place, compose_command):
    node = compose_command(
        "truth", "trainer=nnunet", "experiment=synthetic", f"output_dir={place}", "trainer.budget.epochs=1",
        "trainer.budget.iterations=2", "trainer.budget.patch=[32,32,32]", "trainer.budget.batch=2",
        "trainer.processes=1", "trainer.tune=all",
    ).trainer  # fmt: skip
    return instantiate(node)


@pytest.fixture(scope="module")
def trained(ball, pebble, trainer):
    longer = replace(trainer, budget=replace(trainer.budget, epochs=2, iterations=8))
    steps = []
    done = pretrain(
        NnunetPretraining("nnunet_ball", ball, pebble, longer, features=(8, 16, 32)),
        report=lambda step, loss: steps.append(step),
    )
    assert steps == list(range(1, 17))
    return done


@pytest.fixture(scope="module")
def network(trained):
    """What nnU-Net's own predictor builds of the folder, with the weights in it."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(trained.folder), use_folds=(0,))
    predictor.network.load_state_dict(predictor.list_of_parameters[0])
    return predictor.network


@pytest.fixture(scope="module")
def model(network, trained):
    arch = Architecture(
        "nnunet", lambda in_channels, out_channels: _rebuilt(trained.folder, in_channels, out_channels),
        taps=("decoder.stages.0", "decoder.stages.1"), decoder=("decoder.stages", "decoder.transpconvs"),
        last=("decoder.stages.1",), head=("decoder.seg_layers",), width=8, divisor=4,
    )  # fmt: skip
    return Model("nnunet_ball", arch, network.state_dict(), channels=1, classes=2, patch=PATCH)


def _rebuilt(folder: Path, channels: int, classes: int):
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    plans = json.loads((folder / "plans.json").read_text(encoding="utf-8"))
    parts = plans["configurations"]["3d_fullres"]["architecture"]
    return get_network_from_plans(
        parts["network_class_name"], parts["arch_kwargs"], parts["_kw_requires_import"], channels, classes,
        deep_supervision=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def outcome(model, pebble, trainer):
    """The nnU-Net source fine-tuned on the other task; what it did to the process is looked at on the way."""
    before = dict(os.environ), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), random.getstate()
    steps = []
    done = trainer.fine_tune(model, pebble, pebble.preparation, seed=0, report=lambda step, _: steps.append(step))
    after = dict(os.environ), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), random.getstate()
    assert before == after
    assert steps == [1, 2]
    return done


@pytest.mark.nnunet
@pytest.mark.slow
def test_nnunet_itself_reads_what_it_trained(network, trained, pebble):
    """The folder is one of nnU-Net's own; its plans are the target's, moved."""
    plans = json.loads((trained.folder / "plans.json").read_text(encoding="utf-8"))
    assert plans["dataset_name"].startswith("Dataset")
    assert "Ball" in plans["dataset_name"]
    scheme = preparation_from_plans(plans, "3d_fullres").normalisation.schemes[0]
    assert (scheme.low, scheme.high) == pebble.normalisation.window
    assert plans["configurations"]["3d_fullres"]["patch_size"] == list(PATCH)
    assert trained.folder.name.startswith("nnUNetTrainer__")
    assert (trained.folder / "fold_0" / "checkpoint_final.pth").is_file()
    assert trained.parameters == sum(weight.numel() for weight in network.parameters())
    assert trained.width == 8
    assert trained.cases == 3
    assert trained.losses[-1] < trained.losses[0]
    assert 0.0 <= trained.dice <= 1.0


@pytest.mark.nnunet
@pytest.mark.slow
def test_an_outcome_is_nnunet_s_own_validation(outcome, pebble, trainer):
    """Dice of the files that nnU-Net wrote, counted anew."""
    names = pebble.names("test")
    assert list(outcome.dice) == names
    (folder,) = (Path(trainer.folder) / "runs").glob("nnunet_ball_to_pebble_seed0_*")
    truth = {case.name: case.labels.numpy() for case in pebble.cases("test", STORED)}
    for name in names:
        predicted = np.asarray(nib.load(folder / "test" / "validation" / f"{name}.nii.gz").dataobj)
        for label, found in enumerate(outcome.dice[name], 1):
            one, other = truth[name] == label, predicted == label
            if one.any() or other.any():
                assert found == pytest.approx(2 * (one & other).sum() / (one.sum() + other.sum()), abs=ROUNDING)
            else:
                assert np.isnan(found)
    summary = json.loads((folder / "test" / "validation" / "summary.json").read_text(encoding="utf-8"))
    assert mean_dice(list(outcome.dice.values())) == pytest.approx(summary["foreground_mean"]["Dice"], abs=ROUNDING)
    for case, predicted in outcome.examples.values():
        assert case.name in names
        assert predicted.shape == case.labels.shape
    assert outcome.external == {}
    assert len(outcome.losses) == 2


@pytest.mark.nnunet
@pytest.mark.slow
def test_all_but_the_head_is_the_source_s_as_nnunet_loads_it(outcome, model, trained):
    from nnunetv2.run.load_pretrained_weights import load_pretrained_weights

    assert all("seg_layers" in name for name in outcome.transfer.fresh)
    assert set(outcome.transfer.loaded) | set(outcome.transfer.fresh) == set(model.weights)
    ours, theirs = (model.arch.build(channels=1, classes=3, seed=5) for _ in range(2))
    transfer(ours, model.weights, head=model.arch.head)
    load_pretrained_weights(theirs, str(trained.folder / "fold_0" / "checkpoint_final.pth"))
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(tensor, ours.state_dict()[name]), name


@pytest.mark.nnunet
@pytest.mark.slow
def test_equal_seeds_give_equal_truths_whatever_the_network_is(compose_command, pebble, trainer):
    """A network that is not nnU-Net's, in nnU-Net's loop, on plans and cases that lie there already."""
    arch = instantiate(compose_command("pretrain", "source=scratch", "source.arch.width=4").source.arch)
    weights = arch.build(channels=1, classes=5, seed=42).state_dict()
    made = Model("made", arch, weights, channels=1, classes=5, patch=(16, 16, 16))
    first, again = (
        replace(trainer, budget=replace(trainer.budget, patch=None), tune="decoder").fine_tune(
            made, pebble, pebble.preparation, seed=3
        )
        for _ in range(2)
    )
    assert first.losses == again.losses
    assert first.dice == again.dice
    assert all(name.startswith(("output_block", "heads", "skip_layers")) for name in first.transfer.fresh)


def test_a_patch_that_the_network_cannot_take_is_a_skip(model_of_width_four, pebble, trainer):
    odd = replace(trainer, budget=replace(trainer.budget, patch=(20, 20, 20)))
    with pytest.raises(SkipPair, match="multiples of 8"):
        odd.fine_tune(model_of_width_four, pebble, pebble.preparation, seed=0)


def test_a_dataset_is_written_once_and_says_what_is_not_annotated(place, pebble, monkeypatch):
    space = NnunetSpace(place / "written")
    dataset = write_dataset(pebble, space, train="train", held_out=["test"])
    assert dataset.splits == ((tuple(pebble.names("train")), tuple(pebble.names("test"))),)
    folder = space.raw / dataset.name
    case = pebble.cases("test", STORED)[0]
    image = nib.load(folder / "imagesTr" / f"{case.name}_0000.nii.gz")
    assert np.array_equal(image.get_fdata(dtype=np.float32), case.image[0].numpy())
    assert image.header.get_zooms() == case.spacing
    assert dataset.description["labels"] == {"background": 0, "pebble": 1, "drop": 2}
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert write_dataset(pebble, space, train="train", held_out=["test"]) == dataset
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_what_is_not_annotated_is_nnunet_s_ignore_label(place, pebble):
    class Partly(SyntheticTask):
        def cases(self, split, preparation=None):
            for case in super().cases(split, preparation):
                labels = case.labels.clone()
                labels[0] = IGNORED
                yield replace(case, labels=labels)

    partly = Partly("partly", pebble.folder, pebble.normalisation, splits=pebble.splits, organs=pebble.organs)
    space = NnunetSpace(place / "partly")
    dataset = write_dataset(partly, space, train="train", held_out=["test"])
    assert dataset.description["labels"] == {"background": 0, "pebble": 1, "drop": 2, "ignore": 3}
    labels = nib.load(space.raw / dataset.name / "labelsTr" / f"{partly.names('test')[0]}.nii.gz").get_fdata()
    assert (labels[0] == 3).all()
    assert labels[1:].max() <= 2


def test_a_case_that_is_trained_on_and_tested_is_refused(place, pebble):
    both = replace(pebble, splits={"train": "training", "test": "training"})
    with pytest.raises(InputError, match="must list each case in one split, got pebble_train_00 in several"):
        write_dataset(both, NnunetSpace(place / "twice"), train="train", held_out=["test"])


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(InputError, match=r"trainer\.budget\.epochs must be at least 1, got 0"):
        NnunetBudget(epochs=0)


def test_seeds_hold_inside_alone():
    before = np.random.get_state()[1].tolist()
    drawn = []
    for _ in range(2):
        with seeded(7):
            drawn.append((np.random.rand(), float(torch.rand(1)), random.random()))
    assert drawn[0] == drawn[1]
    assert np.random.get_state()[1].tolist() == before


def test_the_trainer_s_folder_is_no_part_of_its_settings(compose_command):
    from benchmark.truth import truth_keys

    one, other = (
        truth_keys(
            compose_command("truth", "trainer=nnunet", "experiment=scans", f"trainer.folder={folder}"),
            pretrained="source", data="data",
        )
        for folder in ("here", "there")
    )  # fmt: skip
    assert one == other
