"""nnU-Net's loop: mirroring switched off as nnU-Net's own trainer without mirroring does it."""

from types import SimpleNamespace

import pytest
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoMirroring import nnUNetTrainerNoMirroring

from benchmark.training.nnunet.loop import NetworkTrainer, without_mirroring


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
