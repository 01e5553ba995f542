"""Pre-training of a pool's source by nnU-Net: its budget in epochs."""

from pathlib import Path

import pytest
from hydra.utils import instantiate

from benchmark.errors import InputError


def test_steps_that_are_no_whole_number_of_epochs_are_refused(compose_command):
    chosen = ("experiment=paper", "source=msd_colon_unet", "source.budget.steps=300")
    source = instantiate(compose_command("pretrain", *chosen).source)
    with pytest.raises(InputError, match=r"msd_colon_unet: budget\.steps must be a multiple of the 250 iterations"):
        source.trainer.train(source, name="x", device="cpu", report=lambda *_: None, folder=Path("nowhere"))
