"""Checkpoints of nnssl in their public form: the network of the adaptation plan, and no code of a plan is run."""

import json
from pathlib import Path

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from hydra.utils import instantiate
from torch import nn

from benchmark.data.preprocessing.normalise import ChannelSchemes, Scheme
from benchmark.errors import InputError
from benchmark.sources.networks.discover import Layer, layers_of
from benchmark.sources.networks.primus import Primus
from benchmark.sources.readers.recognise import recognise
from benchmark.sources.readers.state_dict import StateDictSource
from tests.benchmark.sources.weights.check_weights import check_model, facts_of, filled, layout_digest, save_as_public

FACTS = facts_of("nnssl_resenc_l")
PLAN = FACTS["adaptation_plan"]
NARROW = {
    "n_stages": 4, "features_per_stage": [4, 6, 8, 8], "kernel_sizes": [[3, 3, 3]] * 4,
    "strides": [[1, 1, 1], [2, 2, 2], [1, 2, 2], [2, 2, 2]], "n_conv_per_stage_decoder": [1, 1, 1],
    "conv_bias": True, "norm_op_kwargs": {"eps": 1e-5, "affine": True}, "dropout_op": None,
    "dropout_op_kwargs": None, "nonlin_kwargs": {"inplace": True},
}  # fmt: skip
CLASSES = {"conv_op": "torch.nn.modules.conv.Conv3d", "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
           "nonlin": "torch.nn.LeakyReLU"}  # fmt: skip
LAYERS = {"conv_op": nn.Conv3d, "norm_op": nn.InstanceNorm3d, "nonlin": nn.LeakyReLU}
BLOCKS = {
    "ResidualEncoderUNet": {"n_blocks_per_stage": [1, 2, 1, 1]},
    "PlainConvUNet": {"n_conv_per_stage": [1, 2, 1, 1]},
}
TRAINING = {"init_args": {"plan": {}, "configuration_name": "onemmiso", "fold": "all"}}
PRIMUS = {"embed_dim": 396, "patch_size": (8, 8, 8), "depth": 1, "num_heads": 6, "mlp_dim": 96}


def narrow(name="ResidualEncoderUNet", *, channels=1, classes=1):
    """A small U-Net of the package, with the weights of the rule, and its adaptation plan."""
    cls = {"ResidualEncoderUNet": ResidualEncoderUNet, "PlainConvUNet": PlainConvUNet}[name]
    settings = NARROW | BLOCKS[name]
    network = cls(input_channels=channels, num_classes=classes, **settings, **LAYERS).eval()
    network.load_state_dict(filled(network.state_dict()))
    parts = {"arch_class_name": name, "arch_kwargs": settings | CLASSES, "arch_kwargs_requiring_import": [*CLASSES]}
    return network, PLAN | {"architecture_plans": parts}


def save(path, weights, plan, *, trainer="BaseMAETrainer", extras=None):
    others = TRAINING | {"trainer_name": trainer, "nnssl_adaptation_plan": plan}
    return save_as_public(path, weights, wrapper="network_weights", others=others, extras=extras)


def opened(path, **settings):
    node = recognise(path)
    return instantiate(node | ({"settings": settings} if settings else {})).open()


def taps_of(network, names, image):
    maps = {}
    for name in names:
        network.get_submodule(name).register_forward_hook(
            lambda *call, name=name: maps.setdefault(name, call[2].clone())
        )
    with torch.no_grad():
        output = network(image)
    return output, [maps[name] for name in names]


def image_of(*shape):
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))


def same(first, second):
    return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(first, second, strict=True))


def test_resenc_l_computes_what_the_public_class_computes(tmp_path):
    sizes = {
        "n_stages": 6,
        "features_per_stage": [32, 64, 128, 256, 320, 320],
        "kernel_sizes": 3,
        "strides": [1, 2, 2, 2, 2, 2],
        "n_blocks_per_stage": [1, 3, 4, 6, 6, 6],
        "n_conv_per_stage_decoder": 1,
    }
    settings = {"conv_bias": True, "norm_op_kwargs": {"eps": 1e-5, "affine": True}, "nonlin_kwargs": {"inplace": True}}
    with torch.device("meta"):
        network = ResidualEncoderUNet(input_channels=1, num_classes=1, **sizes, **settings, **LAYERS)
    weights = filled(network.to_empty(device="cpu").state_dict())
    assert layout_digest(weights) == FACTS["layout"]
    model = opened(save(tmp_path / "checkpoint_final.pth", weights, PLAN))
    check_model(model, FACTS["checks"]["check"])
    assert model.arch.taps == ("decoder.stages.2", "decoder.stages.3", "decoder.stages.4")
    assert (model.channels, model.head, model.patch, model.facts["kind"]) == (1, False, (160, 160, 160), "nnssl")
    preparation = model.preparation
    assert (preparation.spacing, preparation.transpose, preparation.crop) == ((1, 1, 1), (0, 1, 2), True)
    assert preparation.normalisation == ChannelSchemes((Scheme("ZScoreNormalization"),))
    assert "its output (1 channel) is that of the pre-training, no segmentation head" in model.notes


@pytest.mark.parametrize("name", ["ResidualEncoderUNet", "PlainConvUNet"])
def test_a_network_of_another_size_is_built_from_its_arguments(name, tmp_path):
    network, plan = narrow(name, channels=2, classes=3)
    model = opened(save(tmp_path / "a.pth", network.state_dict(), plan))
    image = image_of(2, 8, 16, 16)
    expected, maps = taps_of(network, model.arch.taps, image)
    output, own = taps_of(model.network(), model.arch.taps, image)
    assert same([expected, *maps], [output, *own])
    assert model.arch.fit((5, 5, 5)) == (8, 16, 16)


def test_the_trained_copy_of_spark_is_taken(tmp_path):
    network, plan = narrow()
    trained, copied = network.state_dict(), {}
    for name, tensor in trained.items():
        untrained = name.rpartition(".")[0].endswith((".conv", ".norm"))
        copied[name] = torch.zeros_like(tensor) if untrained else tensor.clone()
    model = opened(save(tmp_path / "a.pth", copied, plan, trainer="SparkTrainer"))
    image = image_of(1, 8, 16, 16)
    assert same([taps_of(model.network(), (), image)[0]], [taps_of(network, (), image)[0]])
    assert sum("differ from all_modules in" in note and "SparK" in note for note in model.notes) == 1


def test_an_encoder_is_tapped_itself_since_its_decoder_is_not_trained(tmp_path):
    network, plan = narrow()
    own = {name: tensor for name, tensor in network.state_dict().items() if name.startswith("encoder.")}
    extras = {"projector.layer1.0.weight": torch.ones(4, 8), "projector.layer1.0.bias": torch.ones(4)}
    model = opened(save(tmp_path / "a.pth", own, plan, trainer="VoCoTrainer", extras=extras))
    assert model.arch.taps == ("encoder.stages.2", "encoder.stages.1", "encoder.stages.0")
    image = image_of(1, 8, 16, 16)
    assert same(taps_of(model.network(), model.arch.taps, image)[1], taps_of(network, model.arch.taps, image)[1])
    assert not model.head
    assert (
        "pre-trained without a decoder for segmentation (VoCoTrainer): the features are those of the encoder's 3 "
        "finest stages; decoder and head are drawn from seed 0, for fine-tuning only"
    ) in model.notes
    again = opened(tmp_path / "a.pth")
    assert all(torch.equal(tensor, again.weights[name]) for name, tensor in model.weights.items())


def test_a_decoder_without_skips_is_not_used(tmp_path):
    network, plan = narrow()
    parts = plan["architecture_plans"]
    own = {name: tensor for name, tensor in network.state_dict().items() if name.startswith("encoder.")}
    own["decoder.stages.0.convs.0.conv.weight"] = torch.ones(8, 8, 3, 3, 3)
    plan = plan | {"architecture_plans": parts | {"arch_class_name": "NoSkipResEncL"}}
    model = opened(save(tmp_path / "a.pth", own, plan), **(NARROW | BLOCKS["ResidualEncoderUNet"]))
    assert model.arch.taps[-1] == "encoder.stages.0"


def primus_plan(start="", patch=(16, 24, 16)):
    plan = json.loads(json.dumps(PLAN))
    plan["architecture_plans"] |= {"arch_class_name": "PrimusS"}
    plan["pretrain_plan"]["configurations"]["onemmiso"]["patch_size"] = list(patch)
    return plan | {
        "key_to_encoder": f"{start}eva",
        "key_to_stem": f"{start}down_projection",
        "keys_to_in_proj": [f"{start}down_projection.proj"],
        "key_to_lpe": f"{start}eva.pos_embed",
    }


@pytest.mark.parametrize("form", ["autoencoder", "encoder"])
def test_primus_has_the_patch_and_the_order_of_tokens_of_its_pre_training(form, tmp_path):
    network = Primus(1, 1, img_size=(16, 24, 16), swap_axes=True, **PRIMUS).eval()
    network.load_state_dict(filled(network.state_dict()))
    weights = network.state_dict()
    if form == "autoencoder":
        weights["decoder.norm.weight"] = weights["decoder.blocks.0.gamma_1"] = torch.ones(396)
    else:
        kept = {name: tensor for name, tensor in weights.items() if name.startswith(("eva.", "down_projection."))}
        weights = {f"encoder.{name}": tensor for name, tensor in kept.items()}
    plan = primus_plan("" if form == "autoencoder" else "encoder.")
    model = opened(save(tmp_path / "a.pth", weights, plan, trainer="evaMAETrainer"))
    image = image_of(1, 16, 24, 16)
    assert same(taps_of(model.network(), ["tokens"], image)[1], taps_of(network, ["tokens"], image)[1])
    assert (model.arch.taps, model.arch.size, model.head) == (("tokens",), (16, 24, 16), False)
    assert Layer("tokens", 396, (8, 8, 8)) in layers_of(model)
    assert any("first two axes of their grid swapped" in note for note in model.notes)
    restored = any(note.startswith("pre-trained as a masked autoencoder") for note in model.notes)
    assert restored == (form == "autoencoder")


@pytest.mark.parametrize("place", ["folder", "above the fold"])
def test_a_plan_in_a_file_of_its_own_is_read_and_counts_in_the_digest(place, tmp_path):
    network, plan = narrow()
    folder = tmp_path / "Dataset745_OpenMind" / "BaseMAETrainer__nnsslPlans__onemmiso"
    path = folder / ("fold_all/checkpoint_final.pth" if place != "folder" else "checkpoint_final.pth")
    path.parent.mkdir(parents=True)
    save_as_public(path, network.state_dict(), wrapper="network_weights")
    (folder / "plans.json").write_text("{}")
    (folder / "adaptation_plan.json").write_text(json.dumps(plan | {"trainer_name": "BaseMAETrainer"}))
    source = instantiate(recognise(path))
    assert source.open().facts["trainer"] == "BaseMAETrainer"
    before = source.digest()
    (folder / "adaptation_plan.json").write_text(json.dumps(plan | {"recommended_downstream_patchsize": [64] * 3}))
    assert source.digest() != before
    assert opened(folder).facts["kind"] == "nnssl"


def test_a_plan_of_other_weights_in_the_folder_is_not_used(tmp_path):
    network, plan = narrow()
    (tmp_path / "adaptation_plan.json").write_text(json.dumps(plan))
    path = save_as_public(
        tmp_path / "other.pth", {f"body.{name}": tensor for name, tensor in network.state_dict().items()}
    )
    with pytest.raises(InputError, match="source other: ") as error:
        opened(path)
    assert "adaptation" not in str(error.value)


def changed(plan, *keys, to):
    plan = json.loads(json.dumps(plan))
    inner = plan
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to
    return plan


PARTS, ARGUMENTS = "architecture_plans", ("architecture_plans", "arch_kwargs")
LAYER = "must name a network class of torch.nn or dynamic_network_architectures, got"
BAD = {
    "a class of another package": (
        (PARTS, "arch_class_name"), "os.system", "arch_class_name must be one of ResEncL, .*, got os.system"),
    "a function as a layer": ((*ARGUMENTS, "conv_op"), "os.system", f"conv_op {LAYER} os.system"),
    "a layer of another package": ((*ARGUMENTS, "nonlin"), "evil.Activation", f"nonlin {LAYER} evil.Activation"),
    "an expression": ((*ARGUMENTS, "conv_bias"), "$open('ran', 'w')", "must be a plain value, got"),
    "an object": ((*ARGUMENTS, "norm_op_kwargs"), {"_target_": "os.system"}, "must be a plain value, got an object"),
    "no arguments": (ARGUMENTS, None, "arch_kwargs must hold the settings of ResidualEncoderUNet, got None"),
    "a wrong argument": (
        (*ARGUMENTS, "n_stages"), "four", "cannot build ResidualEncoderUNet as .* says: ValueError"),
    "no architecture": ((PARTS,), 3, "is not a complete adaptation plan of nnssl: TypeError"),
    "an encoder that is not there": (("key_to_encoder",), "backbone", "key_to_encoder is backbone, which no tensor"),
}  # fmt: skip


@pytest.mark.bad_input
@pytest.mark.parametrize("fault", BAD)
def test_a_bad_plan_is_one_line_and_runs_nothing(fault, tmp_path, monkeypatch):
    keys, value, message = BAD[fault]
    (tmp_path / "evil.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    network, plan = narrow()
    path = save(tmp_path / "a.pth", network.state_dict(), changed(plan, *keys, to=value))
    with pytest.raises(InputError, match=message) as error:
        opened(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    assert not Path("ran").exists()


def test_weights_of_another_network_than_the_plan_are_refused(tmp_path):
    network, plan = narrow()
    wider = changed(plan, PARTS, "arch_kwargs", "features_per_stage", to=[4, 6, 8, 10])
    path = save(tmp_path / "a.pth", network.state_dict(), wider)
    with pytest.raises(InputError, match=r"weights do not match the network: .*shape mismatch for encoder\.stages\.3"):
        opened(path)


def test_intensities_that_are_not_known_are_a_note(tmp_path):
    network, plan = narrow()
    keys = ("pretrain_plan", "configurations", "onemmiso", "normalization_schemes")
    model = opened(save(tmp_path / "a.pth", network.state_dict(), changed(plan, *keys, to=["evil.Scheme"])))
    assert model.preparation is None
    assert any("spacing and intensities are not known: " in note and "evil.Scheme" in note for note in model.notes)


def test_a_network_that_the_user_names_is_used_in_place_of_the_plan(tmp_path):
    network, plan = narrow()
    path = save(tmp_path / "a.pth", network.state_dict(), plan)
    assert StateDictSource("a", path, arch=opened(path).arch).open().facts["kind"] == "state dict"
