"""What a checkpoint's tensors say is followed, or the source is refused with the tensor named."""

import re

import pytest
import torch
from monai.networks import nets
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from safetensors.torch import save_file, save_model
from torch import nn

from benchmark.errors import InputError
from benchmark.sources.readers.factory import FactorySource
from benchmark.sources.readers.nnunet import NnunetSource
from benchmark.sources.readers.state_dict import StateDictSource, formats_of_one_model
from tests.checkpoints import SMALL, plans, small_network, write_nnunet

HEADS = {
    "DynUNet": r"output_block\..*",
    "UNet": r"model\.2\..*",
    "UNETR": r"out\..*",
    "SwinUNETR": r"out\..*",
    "SegResNet": r"conv_final\..*",
    "BasicUNet": r"final_conv\..*",
    "VNet": r"out_tr\..*",
}
DECODERS = {
    "DynUNet": r"(output_block|upsamples|skip_layers)\..*",
    "UNet": r"model\.(1\.submodule\.)*2\..*",
    "UNETR": r"(out|decoder\d|encoder\d)\..*",
    "SwinUNETR": r"(out|decoder\d)\..*",
    "SegResNet": r"(conv_final|up_layers|up_samples)\..*",
    "BasicUNet": r"(final_conv|upcat_\d)\..*",
    "VNet": r"(out_tr|up_tr\d+)\..*",
}


def saved(weights, path):
    torch.save(dict(weights), path)
    return StateDictSource(path.stem, path)


def without(weights, pattern):
    return {name: tensor for name, tensor in weights.items() if not re.fullmatch(pattern, name)}


def refused(weights, path, message):
    with pytest.raises(InputError, match=message):
        saved(weights, path).open()


# --- tensors of another shape ---


@pytest.mark.parametrize("name", SMALL)
def test_a_first_tensor_without_axes_is_one_line(tmp_path, name):
    weights = small_network(name).state_dict()
    first = next(at for at, tensor in weights.items() if tensor.ndim > 2)
    refused(weights | {first: torch.tensor(1.0)}, tmp_path / "mine.pt", r"^source mine: ")


def test_a_network_of_one_dimension_is_refused(tmp_path):
    weights = nets.UNet(1, 1, 3, (4, 8), (2,)).state_dict()
    refused(weights, tmp_path / "mine.pt", "of a UNet of 1 dimensions, and only 2D and 3D ones are read")


# --- tensors that are left over ---


@pytest.mark.parametrize("name", ["upsamples.0.extra.weight", "gate.weight", "bottleneck.norm2.running_mean"])
def test_a_tensor_of_the_network_without_a_place_is_refused(tmp_path, name):
    weights = small_network("DynUNet").state_dict()
    refused(weights | {name: torch.ones(4)}, tmp_path / "mine.pt", rf"source mine: weights .*{re.escape(name)}")


@pytest.mark.parametrize(
    "name", ["deep_supervision_heads.0.conv.conv.weight", "skip_layers.next_layer.super_head.conv.conv.bias",
             "loss.weight", "dice_loss.class_weights", "criterion.ce.weight"],
)  # fmt: skip
def test_training_heads_and_buffers_of_a_loss_are_a_note(tmp_path, name):
    weights = small_network("DynUNet").state_dict()
    assert f"not used: {name}" in saved(weights | {name: torch.ones(3)}, tmp_path / "mine.pt").open().notes


def test_what_stands_beside_the_network_in_a_larger_module_is_a_note(tmp_path):
    weights = {f"backbone.{name}": tensor for name, tensor in small_network("DynUNet").state_dict().items()}
    model = saved(weights | {"projector.weight": torch.ones(3)}, tmp_path / "mine.pt").open()
    assert "not used: projector.weight" in model.notes


def test_a_factory_whose_network_lacks_a_norm_of_the_file_is_refused(tmp_path):
    network = nets.AttentionUnet(spatial_dims=3, in_channels=1, out_channels=3, channels=[4, 8], strides=[2])
    path = tmp_path / "mine.pt"
    extra = {"model.0.conv.0.adn.N.running_extra": torch.ones(4), "beside.weight": torch.ones(1)}
    torch.save(network.state_dict() | extra, path)
    settings = {"spatial_dims": 3, "channels": [4, 8], "strides": [2]}
    with pytest.raises(InputError, match=r"no place for model\.0\.conv\.0\.adn\.N\.running_extra$"):
        FactorySource("mine", "monai.networks.nets:AttentionUnet", path, settings=settings).open()


class Around(nn.Module):
    """A network with something before it, after it, or beside it."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"unet": small_network("UNet"), "refine": nn.Conv3d(3, 3, 3)}, "refine.weight"),
        ({"stem": nn.Conv3d(1, 1, 3), "unet": small_network("SegResNet")}, "stem.weight"),
        ({"model": small_network("BasicUNet"), "attn": nn.Conv3d(1, 1, 1)}, "attn.weight"),
    ],
)
def test_what_stands_before_or_after_a_network_is_not_dropped(tmp_path, parts, named):
    whole = Around(**parts)
    message = rf"no place for .*{re.escape(named)}.*; if it is no part of the network, say what stands before"
    refused(whole.state_dict(), tmp_path / "mine.pt", message)
    prefix = f"{next(name for name in parts if name not in named)}."
    model = StateDictSource("mine", tmp_path / "mine.pt", prefix=prefix).open()  # its owner says that it is none
    assert model.head


def test_an_extra_part_of_a_network_with_a_head_of_another_name_is_refused(tmp_path):
    weights = without(small_network("SegResNet").state_dict(), r"conv_final\..*")
    extra = {"gates.0.weight": torch.ones(8, 8, 1, 1, 1), "seg.weight": torch.ones(3, 8, 1, 1, 1)}
    refused(weights | extra, tmp_path / "mine.pt", r"no place for gates\.0\.weight, seg\.weight")


@pytest.mark.parametrize(
    ("one", "other"), [("UNet", "SegResNet"), ("SwinUNETR", "DynUNet"), ("BasicUNet", "VNet"), ("DynUNet", "DynUNet")]
)
def test_two_networks_in_one_file_are_never_chosen_between(tmp_path, one, other):
    whole = Around(first=small_network(one), second=small_network(other))
    message = rf"several networks \(first\.: {one}, second\.: {other}\); say which by `prefix:` in a yaml next"
    refused(whole.state_dict(), tmp_path / "mine.pt", message)


def test_a_dynunet_as_safetensors_itself_saves_it_is_read(tmp_path):
    network = small_network("DynUNet")
    save_model(network, tmp_path / "mine.safetensors")  # keeps one name of each tensor, not always the first
    model = StateDictSource("mine", tmp_path / "mine.safetensors").open()
    image = torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model.network()(image), network(image))
    torch.save(network.state_dict(), tmp_path / "mine.pt")
    files = [tmp_path / "mine.safetensors", tmp_path / "mine.pt"]
    assert formats_of_one_model(files) == {files[1]: files[0]}


def test_a_residual_dynunet_whose_blocks_keep_their_shape_is_not_guessed(tmp_path):
    flat = {"kernel_size": [3, 3, 3], "strides": [1, 1, 1], "upsample_kernel_size": [1, 1], "filters": [4, 4, 4]}
    network = nets.DynUNet(spatial_dims=3, in_channels=4, out_channels=2, res_block=True, **flat)
    model = saved(network.state_dict(), tmp_path / "mine.pt").open()
    assert "res_block = False" in model.facts["assumed"]


# --- names of other versions, and tensors under several names ---


def test_names_of_old_versions_are_read(tmp_path):
    network = nets.UNet(spatial_dims=3, in_channels=1, out_channels=3, norm="batch", **SMALL["UNet"]).eval()
    old = {name.replace(".adn.A.", ".act.").replace(".adn.N.", ".norm."): tensor
           for name, tensor in network.state_dict().items()}  # fmt: skip
    assert "model.0.conv.unit0.act.weight" in old
    model = saved(old, tmp_path / "old.pt").open()
    image = torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model.network()(image), network(image))
    assert "its tensors have the names of MONAI up to 0.3" in model.notes


def test_tensors_that_nothing_reads_may_be_missing(tmp_path):
    weights = without(small_network("UNETR").state_dict(), r".*norm_cross_attn.*")
    model = saved(weights, tmp_path / "unetr.pt").open()
    assert model.head
    note = "missing, but never called by the network: vit.blocks.0.norm_cross_attn.weight, "
    assert any(text.startswith(note) for text in model.notes)
    network = nets.UNet(spatial_dims=3, in_channels=1, out_channels=3, norm="batch", **SMALL["UNet"])
    assert saved(without(network.state_dict(), r".*num_batches_tracked"), tmp_path / "unet.pt").open().head


def test_a_tensor_with_two_names_may_be_stored_once(tmp_path):
    network = small_network("DynUNet")
    once = without(network.state_dict(), r"skip_layers\..*")
    save_file({name: tensor.contiguous() for name, tensor in once.items()}, tmp_path / "once.safetensors")
    model = StateDictSource("once", tmp_path / "once.safetensors").open()
    image = torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model.network()(image), network(image))


def test_two_names_of_one_tensor_must_agree(tmp_path):
    weights = small_network("DynUNet").state_dict()
    other = "skip_layers.downsample.conv1.conv.weight"
    message = rf"input_block\.conv1\.conv\.weight and {re.escape(other)} are one tensor of the network and differ"
    refused(weights | {other: weights[other] + 1}, tmp_path / "mine.pt", message)


# --- heads and decoders ---


@pytest.mark.parametrize("dims", [3, 2])
@pytest.mark.parametrize("name", HEADS)
def test_a_backbone_without_its_head_has_the_same_features(tmp_path, name, dims):
    network = small_network(name, dims=dims)
    weights = without(network.state_dict(), HEADS[name])
    assert len(weights) < len(network.state_dict())
    whole, model = (saved(one, tmp_path / f"{at}.pt").open() for at, one in enumerate((network.state_dict(), weights)))
    assert whole.head
    assert not model.head
    assert any(note.startswith("no segmentation head, since ") for note in model.notes)
    assert model.arch.taps == whole.arch.taps
    sides = model.arch.fit((32, 32, 32))[-dims:] if name != "SwinUNETR" else (64, 32, 32)[:dims]
    image = torch.randn(1, 1, *((1,) * (3 - dims)), *sides, generator=torch.Generator().manual_seed(0))
    features = [features_of(one, image) for one in (whole, model)]
    assert all(torch.equal(a, b) for a, b in zip(*features, strict=True))


def features_of(model, image):
    network, outputs = model.network(), []
    for tap in model.arch.taps:
        network.get_submodule(tap).register_forward_hook(lambda _, __, output: outputs.append(output))
    with torch.no_grad():
        network(image)
    return outputs


@pytest.mark.parametrize("name", DECODERS)
def test_an_encoder_alone_is_refused_in_these_words(tmp_path, name):
    weights = without(small_network(name).state_dict(), DECODERS[name])
    message = rf"source mine: the file contains only an encoder \({name}\), without a decoder"
    refused(weights, tmp_path / "mine.pt", message)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["module.patch_embed.proj.weight", "module.layers1.0.blocks.0.norm1.weight"], "a Swin transformer"),
        (["patch_embedding.position_embeddings", "blocks.0.norm1.weight"], "a vision transformer"),
        (["module.conv1.weight", "module.layer1.0.conv1.weight"], "a ResNet, such as MedicalNet's"),
    ],
)
def test_other_encoders_are_refused_in_the_same_words(tmp_path, names, kind):
    weights = {name: torch.ones(4, 1, 2, 2, 2) for name in names}
    refused(
        weights, tmp_path / "mine.pt", rf"source mine: the file contains only an encoder \({kind}\), without a decoder"
    )


def test_an_encoder_alone_is_refused_for_a_named_network_with_batch_norm(tmp_path):
    settings = {"spatial_dims": 3, "norm": "batch", **SMALL["UNet"]}  # the counters of its batch norms may be missing
    weights = nets.UNet(in_channels=1, out_channels=3, **settings).state_dict()
    torch.save(without(weights, DECODERS["UNet"]), tmp_path / "mine.pt")
    with pytest.raises(InputError, match=r"source mine: the file contains only an encoder \(UNet\)"):
        FactorySource("mine", "monai.networks.nets:UNet", tmp_path / "mine.pt", settings=settings).open()


@pytest.mark.parametrize("name", ["upsamples.0.transp_conv.conv.weight", "upsamples.1.conv_block.conv1.conv.weight"])
def test_a_decoder_that_is_not_whole_is_refused(tmp_path, name):
    weights = without(small_network("DynUNet").state_dict(), rf"{re.escape(name)}|skip_layers\..*|output_block\..*")
    refused(weights, tmp_path / "mine.pt", rf"source mine: .*{re.escape(name)}.*")


# --- nnU-Net's trainers ---


def trained_by(folder, trainer, *, batch_norm=False):
    """A results folder of a trainer, its weights those of batch norm where that is what the trainer builds."""
    place = write_nnunet(folder / "Dataset501_Made")
    moved = place.with_name(place.name.replace("nnUNetTrainer", trainer))
    place.rename(moved)
    path = moved / "fold_0" / "checkpoint_final.pth"
    checkpoint = torch.load(path, weights_only=False)
    checkpoint["trainer_name"] = trainer
    network = None
    if batch_norm:
        (configuration,) = plans()["configurations"].values()
        parts = configuration["architecture"]
        kwargs = parts["arch_kwargs"] | {"norm_op": "torch.nn.modules.batchnorm.BatchNorm3d"}
        network = get_network_from_plans(parts["network_class_name"], kwargs, parts["_kw_requires_import"], 1, 3, True,
                                         deep_supervision=False).eval()  # fmt: skip
        for name, buffer in network.named_buffers():
            if "running" in name:
                buffer.copy_(torch.rand_like(buffer) + 0.5)
        checkpoint["network_weights"] = network.state_dict()
    torch.save(checkpoint, path)
    return moved, network


def test_the_batch_norm_trainer_has_batch_norm(tmp_path):
    place, network = trained_by(tmp_path, "nnUNetTrainerBN", batch_norm=True)
    model = NnunetSource("mine", place).open()
    image = torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model.network()(image), network(image))
    assert "trainer nnUNetTrainerBN: batch norm instead of the plan's norm" in model.notes


@pytest.mark.parametrize("trainer", ["nnUNetTrainer", "nnUNetTrainer_250epochs", "nnUNetTrainerNoMirroring"])
def test_trainers_that_build_the_plan_say_nothing(tmp_path, trainer):
    place, _ = trained_by(tmp_path, trainer)
    assert "assumed" not in NnunetSource("mine", place).open().facts


def test_the_network_of_an_unknown_trainer_is_assumed(tmp_path):
    place, _ = trained_by(tmp_path, "MyTrainer")
    model = NnunetSource("mine", place).open()
    assert model.facts["assumed"] == "network = that of plans.json"
    assert any("trainer MyTrainer is not one of nnU-Net's own" in note for note in model.notes)


def test_a_trainer_whose_weights_do_not_fit_the_plan_is_named(tmp_path):
    place, _ = trained_by(tmp_path, "MyTrainer", batch_norm=True)
    with pytest.raises(InputError, match=r"no place for .*running_mean.*; trainer MyTrainer is not one of nnU-Net's"):
        NnunetSource("mine", place).open()


def test_a_trainer_with_a_network_of_its_own_is_refused(tmp_path):
    place, _ = trained_by(tmp_path, "nnUNet_Primus_M_Trainer")
    with pytest.raises(InputError, match="trainer nnUNet_Primus_M_Trainer builds a network of its own"):
        NnunetSource("mine", place).open()
