"""A fine-tuning in pauses, as a race trains: the same losses and weights as one without, and no test case is read."""

import pytest
import torch
from hydra.utils import instantiate

from benchmark.data.tasks.msd import MsdTask
from benchmark.data.tasks.task import Split
from benchmark.errors import InputError
from benchmark.sources.model import Model
from benchmark.sources.pretrained import Budget
from benchmark.training.dice import case_dice
from benchmark.training.monai import MonaiTrainer
from benchmark.training.prediction import predict
from benchmark.training.resume import NoWeightsError, load_weights, saved_losses, state_path
from tests.benchmark.data.conftest import make_msd

TRAINER = MonaiTrainer("all", Budget(steps=9, batch=2, patch=(16, 16, 16)), window=(16, 16, 16))


@pytest.fixture(scope="module")
def model(compose_command):
    arch = instantiate(compose_command("pretrain", "source=scratch", "source.arch.width=4").source.arch)
    return Model("made", arch, arch.build(channels=1, classes=5, seed=42).state_dict(), channels=1, classes=5)


@pytest.fixture(scope="module")
def msd(tmp_path_factory):
    return make_msd(tmp_path_factory.mktemp("advance") / "Task09_Spleen")


@pytest.fixture(scope="module")
def whole(model, msd):
    """A fine-tuning without pauses, whose test cases are the validation cases of the others."""
    target = MsdTask(msd, test_share=0.4)
    return TRAINER.fine_tune(model, target, target.preparation, seed=3)


def advance(model, msd, rung, folder):
    target = MsdTask(msd, test_share=0.4, held_out="validation")
    return TRAINER.advance(model, target, target.preparation, rung=rung, seed=3, folder=folder)


def test_losses_up_to_each_rung_are_those_of_the_whole_training_bit_for_bit(model, msd, whole, tmp_path):
    assert TRAINER.rungs == {"eighth": 2, "quarter": 3, "half": 5, "full": 9}
    for rung, steps in TRAINER.rungs.items():
        done = advance(model, msd, rung, tmp_path)
        assert done.losses == whole.losses[:steps]
        assert done.rung.steps == steps
        assert len(saved_losses(state_path(tmp_path))) == steps
    assert done.rung.dice == whole.dice


def test_rungs_may_be_skipped_and_asked_for_again(model, msd, whole, tmp_path):
    late = advance(model, msd, "full", tmp_path / "a")
    early = advance(model, msd, "quarter", tmp_path / "a")
    direct = advance(model, msd, "quarter", tmp_path / "b")
    assert late.losses == whole.losses
    assert early.losses == direct.losses == whole.losses[:3]
    assert early.rung.dice == direct.rung.dice


def test_the_weights_of_a_state_are_those_of_the_rung(model, msd, tmp_path):
    """After loading them, the network predicts what was measured."""
    done = advance(model, msd, "half", tmp_path)
    target = MsdTask(msd, test_share=0.4, held_out="validation")
    network = model.arch.build(channels=1, classes=target.classes, seed=0)
    load_weights(network, tmp_path, steps=5)
    tuned = Model("tuned", model.arch, network.state_dict(), channels=1, classes=target.classes)
    predictions = predict(tuned.network(), target.cases(Split.VALIDATION).readers(), window=TRAINER.window)
    dice = {case.name: case_dice(labels, case.labels, classes=target.classes) for case, labels in predictions}
    assert dice == done.rung.dice


def test_no_case_is_in_both_splits_and_the_data_set_s_test_cases_are_in_none(msd):
    target = MsdTask(msd, test_share=0.4, held_out="validation")
    assert set(target.splits) == {Split.TRAIN, Split.VALIDATION}
    assert not set(target.names(Split.TRAIN)) & set(target.names(Split.VALIDATION))
    with pytest.raises(InputError, match="split must be one of"):
        target.names(Split.TEST)


def test_another_held_out_split_is_refused(msd):
    with pytest.raises(InputError, match="held_out must be test or validation, got external"):
        MsdTask(msd, held_out="external")


def test_a_corrupt_state_is_deleted_and_has_no_weights(tmp_path):
    (tmp_path / "training.pt").write_bytes(b"no state")
    assert saved_losses(tmp_path / "training.pt") == []
    with pytest.raises(NoWeightsError, match="has no weights after 5 steps"):
        load_weights(torch.nn.Conv3d(1, 1, 1), tmp_path, steps=5)
    assert list(tmp_path.iterdir()) == []
