"""A source from a file meets a target through the commands: adapted and said, or skipped with its reason."""

import math

import pytest
import torch
from monai.networks import nets

from tests.checkpoints import CLASSES, small_network, write_weights

SHORT = ["target=synthetic_ball", "experiment=synthetic", "trainer.budget.steps=2"]
SCORED = ["target=synthetic_ball", "experiment=synthetic", "metric=[logme,leep]"]


@pytest.fixture
def impossible(tmp_path):
    """A network whose first layer mixes two channels with the voxels of a patch."""
    network = nets.UNETR(in_channels=2, out_channels=CLASSES, img_size=32, feature_size=4, hidden_size=64, mlp_dim=64,
                         num_heads=1, proj_type="perceptron")  # fmt: skip
    return ["source=state_dict", f"source.path={write_weights(network, tmp_path / 'mixed.pt')}"]


def only_row(place, stage):
    (row,) = place.store().finished(stage).values()
    return row


def test_a_flat_network_of_two_inputs_is_scored_and_fine_tuned_on_volumes_of_one_channel(study, tmp_path, command_line):
    path = write_weights(small_network("DynUNet", dims=2, channels=2), tmp_path / "flat.pt")
    source = ["source=state_dict", f"source.path={path}"]
    done = command_line("score", *source, *SCORED, *study.overrides)
    assert done.code == 0, done.err
    row = only_row(study, "score")
    assert row.params["source"] == "flat"
    assert "each of its 2 inputs sees the target's one channel" in row.tags["notes"]
    assert all(math.isfinite(row.metrics[name]) for name in ("logme", "leep"))
    done = command_line("truth", *source, *SHORT, *study.overrides)
    assert done.code == 0, done.err
    row = only_row(study, "truth")
    assert math.isfinite(row.metrics["dice"])
    assert row.metrics["fresh"] == len(small_network("DynUNet", dims=2).output_block.state_dict())
    assert "each of its 2 inputs" in row.tags["notes"]


def test_an_impossible_pair_is_a_row_with_its_reason(study, impossible, command_line):
    for command, overrides, metrics in (("score", SCORED, ("logme", "leep")), ("truth", SHORT, ("dice",))):
        done = command_line(command, *impossible, *overrides, *study.overrides)
        assert done.code == 0, done.err
        row = only_row(study, command)
        assert row.tags["skipped"].startswith("mixed mixes its input channels in vit.patch_embedding")
        for metric in metrics:
            assert math.isnan(row.metrics[metric])
            assert row.tags[f"reason/{metric}"] == row.tags["skipped"]
        again = command_line(command, *impossible, *overrides, *study.overrides)
        assert again.code == 0, again.err
        assert len(study.store().finished(command)) == 1
    other = command_line("score", *impossible, *SCORED[:2], "metric=[gbc]", *study.overrides)  # reads no earlier pass
    assert other.code == 0, other.err


def test_inspect_prints_plain_text_where_there_is_no_terminal(place, tmp_path, command_line):
    path = write_weights(small_network("UNet"), tmp_path / "mine.pth")
    done = command_line("inspect", f"path={path}", *place.overrides)
    assert done.code == 0, done.err
    assert "\x1b" not in done.out
    parameters = sum(p.numel() for p in small_network("UNet").parameters())
    for line in (
        "unet, 3D",
        f"{parameters:,}",
        "3: names not known",
        "assumed",
        "strides = [2, 2]",
        "model.1.submodule.1",
    ):
        assert line in done.out, line
    assert torch.load(path, weights_only=True)["epoch"] == 3, "what is inspected stays as it is"
