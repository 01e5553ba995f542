"""nnU-Net's loop: its seconds over resumes, and mirroring switched off as nnU-Net does it."""

from types import SimpleNamespace

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoMirroring import nnUNetTrainerNoMirroring

from benchmark.training.nnunet import loop
from benchmark.training.nnunet.loop import NetworkTrainer, by_epochs, without_mirroring
from benchmark.training.resume import Keeper


def _trainer(cls: type):
    """A trainer with as much as its choice of augmentation reads."""
    trainer = object.__new__(cls)
    trainer.configuration_manager = SimpleNamespace(patch_size=[64, 144, 112])
    trainer.print_to_log_file = lambda *_: None
    return trainer


@pytest.mark.nnunet
def test_without_mirroring_is_what_nnunet_s_trainer_without_mirroring_does():
    plain, off, theirs = _trainer(NetworkTrainer), _trainer(NetworkTrainer), _trainer(nnUNetTrainerNoMirroring)
    without_mirroring(off)
    rotation, dummy, patch, axes = plain.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert axes == plain.inference_allowed_mirroring_axes == (0, 1, 2)
    mine, reference = (
        trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size() for trainer in (off, theirs)
    )
    assert str(mine) == str(reference) == str((rotation, dummy, patch, None))
    assert off.inference_allowed_mirroring_axes is theirs.inference_allowed_mirroring_axes is None


class EpochTrainer:
    """A trainer of two epochs with one step each, with as much of nnU-Net's as `by_epochs` uses."""

    num_epochs, num_iterations_per_epoch, current_epoch, grad_scaler, _best_ema = 2, 1, 0, None, None

    def __init__(self, spend):
        self.network, self.spend = torch.nn.Conv3d(1, 1, 1), spend
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.1)
        self.logger = SimpleNamespace(get_checkpoint=dict, load_checkpoint=lambda _: None)

    def on_train_start(self):
        self.spend(100.0)  # planning, start-up

    def on_epoch_start(self):
        self.spend(1.0)

    def train_step(self, batch):
        self.spend(4.0)
        return {"loss": 0.5}

    def on_epoch_end(self):
        self.current_epoch += 1

    def run_training(self):
        self.on_train_start()
        while self.current_epoch < self.num_epochs:
            self.on_epoch_start()
            self.train_step({})
            self.on_epoch_end()


@pytest.mark.nnunet
def test_seconds_are_those_of_the_epochs_also_before_an_interruption(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def spend(seconds):
        now[0] += seconds

    for until, seconds in ((1, 5.0), (1, 5.0), (None, 10.0)):  # the second run only loads the state
        trainer, keeper = EpochTrainer(spend), Keeper(tmp_path / "training.pt", every=0)
        progress = by_epochs(trainer, report=lambda *_: None, seed_epoch=lambda _: None, keeper=keeper, until=until)
        trainer.run_training()
        assert progress.seconds == seconds
    assert progress.losses == [0.5, 0.5]
