"""A written source comes back as the same model, whatever its network; a hostile sidecar runs nothing."""

import importlib
import json
import shutil
import socket
import sys
from collections import OrderedDict
from dataclasses import fields, replace
from functools import partial

import numpy as np
import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from hydra.utils import instantiate
from monai.networks import nets
from monai.networks.nets import BasicUNet, UNet
from torch import nn

from benchmark.data.preprocessing.normalise import ChannelSchemes, Normalisation, Scheme
from benchmark.data.preprocessing.preparation import Preparation, Resampling
from benchmark.errors import InputError
from benchmark.sources.model import Model
from benchmark.sources.networks.architecture import Architecture
from benchmark.sources.networks.discover import discovered
from benchmark.sources.networks.planned_unet import plain_unet
from benchmark.sources.networks.stunet import STUNet
from benchmark.sources.readers import nnunet_trainers
from benchmark.sources.readers.named_code import with_own_names
from benchmark.sources.readers.network_description import OWN, describe_network
from benchmark.sources.readers.own_format import FileSource
from benchmark.sources.readers.recognise import recognise
from benchmark.sources.weights.checkpoint import SIDECAR
from benchmark.sources.weights.families import FAMILIES
from benchmark.sources.writers.own_format import write_source
from tests.benchmark.sources.readers.test_bundle import code_bundle
from tests.checkpoint_layouts import LAYOUTS, NOT_READ, small_image
from tests.checkpoints import plans

TARGET = {0: "background", 1: "spleen", 2: "left kidney", 3: "right kidney"}
PREPARATION = Preparation(
    ChannelSchemes((Scheme("CTNormalization", mean=40.5, std=30.0, low=-100.0, high=250.0),)),
    spacing=(2.5, 0.8, 0.7),
    transpose=(0, 1, 2),
    crop=True,
    resampling=Resampling("resample_torch_fornnunet", (("is_seg", False), ("memefficient_seg_resampling", False))),
)
PARTS = [field.name for field in fields(Architecture) if field.name != "network"]


def opened(path, **settings):
    return instantiate(recognise(path) | settings, _convert_="all").open()


def tuned(model: Model, **changes: object) -> Model:
    """A model with another head, as after fine-tuning; its weights are drawn at random."""
    network = model.arch.build(channels=model.channels, classes=len(TARGET), seed=7)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0, generator=torch.Generator().manual_seed(3))
    facts = {"kind": "race", "path": "elsewhere", "fine_tuned_on": "organs", "dice": 0.75, "parts": {"a": 1}}
    values = {"name": "winner", "labels": TARGET, "preparation": PREPARATION, "patch": model.arch.fit((40, 33, 17)),
              "facts": facts, "notes": ("a note",), "classes": len(TARGET), "weights": network.state_dict(),
              "head": True}  # fmt: skip
    return replace(model, **(values | changes))


def listed(value):
    return list(value) if isinstance(value, tuple) else value


def logits(model: Model) -> torch.Tensor:
    with torch.no_grad():
        output = model.network()(small_image(model))
    return output[0] if isinstance(output, list | tuple) else output


@pytest.mark.parametrize("layout", [item for item in LAYOUTS if item.result != NOT_READ], ids=lambda item: item.title)
def test_each_layout_comes_back_as_it_was_written(layout, tmp_path):
    (tmp_path / "layout").mkdir()
    layout.write(tmp_path / "layout")
    model = tuned(opened(tmp_path / "layout"))
    source = write_source(model, tmp_path / "winner")
    assert source == FileSource("winner", tmp_path / "winner", trust=False)
    read = opened(tmp_path / "winner")
    for part in PARTS:
        assert listed(getattr(read.arch, part)) == listed(getattr(model.arch, part)), part
    for part in ("name", "channels", "classes", "labels", "preparation", "patch", "head", "notes"):
        assert getattr(read, part) == getattr(model, part), part
    assert read.facts == {"kind": "file", "path": str(tmp_path / "winner"), "fine_tuned_on": "organs", "dice": 0.75}
    assert read.weights.keys() == model.weights.keys()
    assert torch.equal(logits(read), logits(model))
    assert describe_network(read.arch.network) == describe_network(model.arch.network)


def test_own_networks_of_all_families_are_known():
    own = {family.network for family in FAMILIES.values() if family.network}
    assert own <= set(OWN.values())
    assert len(own) >= 5


# --- networks that no layout has ---

UNET = {"n_stages": 2, "features_per_stage": [4, 8], "conv_op": nn.Conv3d, "kernel_sizes": 3, "strides": (1, 2),
        "n_conv_per_stage": 1, "n_conv_per_stage_decoder": 1, "norm_op": nn.InstanceNorm3d, "nonlin": nn.LeakyReLU,
        "norm_op_kwargs": {"affine": True}}  # fmt: skip


def made(network) -> Model:
    arch = discovered("net", network, dims=3)
    return tuned(Model("net", arch, {}, channels=1, classes=2))


def renamed():
    return partial(with_own_names, partial(PlainConvUNet, **UNET), "input_channels", "num_classes")


@pytest.mark.parametrize(
    "network",
    [
        renamed(),
        partial(plain_unet, features=[4, 8, 8], strides=(1, 2, np.int64(2))),
        partial(STUNet, widths=[4, 4, 8], blocks=[1, 1, 1], strides=[[2, 2, 2]] * 2),
    ],
    ids=["a class with names of its own", "a function of ours", "a class of ours"],
)
def test_other_factories_come_back(network, tmp_path):
    model = made(network)
    read = write_source(model, tmp_path / "winner").open()
    assert torch.equal(logits(read), logits(model))


class Wide(nn.Module):
    """A trainer of the installed nnU-Net that builds another network."""

    @staticmethod
    def build_network_architecture(plans, plan, channels, classes, supervised):
        return BasicUNet(3, channels, classes, features=(4, 4, 8, 8, 16, plan.patch_size[0] // 8))


def test_the_network_of_a_trainer_comes_back(tmp_path, monkeypatch):
    trainers = {"Wide": nnunet_trainers.TrainerClass(__name__, "nnUNetTrainer", builds=True)}
    monkeypatch.setattr(nnunet_trainers, "_trainers", lambda: trainers)
    content = plans()
    plan = content["configurations"]["3d_fullres"]
    model = made(nnunet_trainers.network_of_trainer("Wide", content, plan))
    assert torch.equal(logits(write_source(model, tmp_path / "winner").open()), logits(model))
    edited(tmp_path / "winner", lambda node: node.update(trainer="Wider"))
    with pytest.raises(InputError, match=r"factory must name a trainer of nnU-Net that builds a network, got Wider$"):
        opened(tmp_path / "winner")


# --- code of the user's own ---

CODE = """
from pathlib import Path
from monai.networks.nets import UNet
Path("ran").touch()

class Network(UNet):
    pass

def make(in_channels, out_channels, width):
    return UNet(3, in_channels, out_channels, channels=(width, 8), strides=(2,))
"""


@pytest.fixture
def own_code(tmp_path, monkeypatch):
    """A module on the path that leaves a trace when it is imported."""
    (tmp_path / "own_code.py").write_text(CODE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("own_code")
    sys.modules.pop("own_code", None)


@pytest.mark.parametrize("name", ["Network", "make"])
def test_a_network_of_the_users_own_is_read_again_with_trust_only(name, own_code, tmp_path):
    settings = {"width": 4} if name == "make" else {"spatial_dims": 3, "channels": (4, 8), "strides": (2,)}
    model = made(partial(getattr(own_code, name), **settings))
    source = write_source(model, tmp_path / "winner")
    assert source.trust
    expected = logits(model)
    del sys.modules["own_code"]
    (tmp_path / "ran").unlink()
    with pytest.raises(InputError, match=rf"must name a network class of .*, got own_code.{name}; trust=true allows"):
        opened(tmp_path / "winner")
    assert not (tmp_path / "ran").exists()
    assert torch.equal(logits(opened(tmp_path / "winner", trust=True)), expected)


def test_a_bundle_with_code_of_its_own_is_read_again_with_trust_only(tmp_path):
    folder = code_bundle(tmp_path / "bundle", 3)
    model = tuned(instantiate(recognise(folder, trust=True)).open())
    source = write_source(model, tmp_path / "winner")
    assert source.trust
    assert torch.equal(logits(source.open()), logits(model))
    with pytest.raises(InputError, match=r"is of scripts\.net\.Net in \S+bundle, whose code is run only with trust="):
        opened(tmp_path / "winner")


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda in_channels, out_channels: nn.Conv3d(in_channels, out_channels, 1), r".+<lambda> is not a class or "),
        (partial(UNet, 3), r"monai\.networks\.nets\.unet\.UNet has positional arguments"),
        (partial(UNet, act=nn.ReLU()), r"act of monai\.networks\.nets\.unet\.UNet is ReLU, not a plain value or a "),
        (partial(UNet, act={"_target_": "a"}), "act of .+ is dict, not a plain value or a layer"),
        (partial(UNet, act=[{1: 2}]), "act of .+ is dict, not a plain value or a layer"),
        (partial(UNet, act=OrderedDict), "act of .+ is type, not a plain value or a layer"),
    ],
)  # fmt: skip
def test_what_cannot_be_described_is_said_in_one_line(network, message):
    with pytest.raises(InputError, match=rf"^cannot describe the network: {message}"):
        describe_network(network)


# --- a folder that would be read as another model ---


def test_a_wrong_description_writes_no_folder(tmp_path, monkeypatch):
    model = made(partial(UNet, spatial_dims=3, channels=(4, 8), strides=(2,)))
    write_source(model, tmp_path / "winner")
    before = (tmp_path / "winner" / SIDECAR).read_bytes()
    wrong = describe_network(partial(UNet, spatial_dims=3, channels=(8, 8), strides=(2,)))
    monkeypatch.setattr("benchmark.sources.writers.own_format.describe_network", lambda network: wrong)
    with pytest.raises(InputError, match="weights do not match the network: shape mismatch for model"):
        write_source(model, tmp_path / "winner")
    assert (tmp_path / "winner" / SIDECAR).read_bytes() == before
    fewer = describe_network(partial(UNet, spatial_dims=3, channels=(4, 8), strides=(2,), bias=False))
    monkeypatch.setattr("benchmark.sources.writers.own_format.describe_network", lambda network: fewer)
    with pytest.raises(InputError, match="cannot write winner: its tensors would be read back as"):
        write_source(model, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head": False}, "cannot write winner: it has no segmentation head"),
        ({"classes": 3}, "source winner: weights do not match net: size mismatch"),
    ],
)
def test_a_model_that_is_not_whole_is_refused(change, message, tmp_path):
    model = made(partial(UNet, spatial_dims=3, channels=(4, 8), strides=(2,)))
    with pytest.raises(InputError, match=message):
        write_source(replace(model, **change), tmp_path / "winner")
    assert not (tmp_path / "winner").exists()


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model = made(partial(UNet, spatial_dims=3, channels=(4, 8), strides=(2,)))
    next(iter(model.weights.values())).view(-1)[0] = float("nan")
    with pytest.raises(InputError, match="the weights must be finite, got NaN or inf"):
        write_source(model, tmp_path / "winner")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write .+/file/winner: "):
        write_source(made(partial(UNet, spatial_dims=3, channels=(4, 8), strides=(2,))), tmp_path / "file" / "winner")


@pytest.mark.parametrize("normalisation", [Normalisation((-160.0, 240.0)), Normalisation([-160.0, 240.0]), None])
def test_preparations_come_back(normalisation, tmp_path):
    preparation = Preparation(normalisation, orientation="RAS", unknown=("spacing",)) if normalisation else None
    model = made(partial(UNet, spatial_dims=3, channels=(4, 8), strides=(2,)))
    read = write_source(replace(model, preparation=preparation, patch=None), tmp_path / "winner").open()
    if preparation:
        expected = replace(preparation, normalisation=Normalisation(tuple(normalisation.window)))
    assert read.preparation == (expected if preparation else None)
    assert read.patch is None


# --- hostile sidecars ---


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A written source, to copy before its description is changed."""
    folder = tmp_path_factory.mktemp("small") / "winner"
    write_source(made(partial(UNet, spatial_dims=3, channels=(4, 8), strides=(2,))), folder)
    return folder


def edited(folder, change):
    """A folder whose description of the network is changed; `change` returns another one, or None."""
    path = folder / SIDECAR
    content = json.loads(path.read_text(encoding="utf-8"))
    node = content["architecture"]["factory"]
    content["architecture"]["factory"] = change(node) or node
    path.write_text(json.dumps(content), encoding="utf-8")


def nnunet(**changes):
    parts = plans()["configurations"]["3d_fullres"]["architecture"]
    return parts | {"arch_kwargs": parts["arch_kwargs"] | changes}


def unet(**settings):
    return {"class": "monai.networks.nets.unet.UNet", "settings": settings}


def adapted(name="PlainConvUNet", **settings):
    stated = {"conv_op": "torch.nn.Conv3d", "nonlin": "torch.nn.ReLU"} | settings
    return {"adaptation_plan": name, "settings": stated, "layers": ["conv_op", "nonlin"]}


CLASS = r"factory must name a network class of monai\.networks\.nets or dynamic_network_architectures, got"
LAYER = r"must name a network class of torch\.nn or dynamic_network_architectures, got"
OBJECT = r"must be a plain value, got an object of os\.system"
HOSTILE = {
    "a function": ({"class": "os.system", "settings": {"command": "touch ran"}}, f"{CLASS} os.system"),
    "a class of another package": ({"class": "own_code.Network", "settings": {}}, f"{CLASS} own_code.Network"),
    "a function of another package": ({"class": "own_code:make", "settings": {}}, f"{CLASS} own_code:make"),
    "a class reached through ours": (
        {"class": "benchmark.sources.networks.stunet.nn.Sequential", "settings": {}}, f"{CLASS} benchmark"),
    "another class of ours": (
        {"class": "benchmark.sources.readers.named_code.imported_function", "settings": {}}, f"{CLASS} benchmark"),
    "a class reached through MONAI's": (
        {"class": "monai.networks.nets.unet.nn.Sequential", "settings": {}}, "which is defined in torch.nn"),
    "a function of MONAI": (
        {"class": "monai.networks.nets.resnet.resnet10", "settings": {}}, "which is not a torch module"),
    "a folder of code": ({"class": "own_code.Network", "settings": {}, "folder": "."}, "code is run only with trust="),
    "a layer of another package": (unet(act={"_class_": "own_code.Network"}), rf"act {LAYER} own_code\.Network"),
    "a function as a layer": (unet(act={"_class_": "os.system"}), rf"factory\.act {LAYER} os\.system"),
    "an object": (unet(act={"_target_": "os.system"}), OBJECT),
    "an object in a tuple": (unet(act={"_tuple_": [1, [{"_target_": "os.system", "command": "touch ran"}]]}), OBJECT),
    "an expression": (unet(act=["$open('ran', 'w')"]), r"must be a plain value, got \$open"),
    "a class in plans": ({"plans": nnunet() | {"network_class_name": "os.system"}}, "got os.system"),
    "a layer in plans": ({"plans": nnunet(conv_op="os.system")}, rf"conv_op {LAYER} os\.system"),
    "a layer in plans of another package": (
        {"plans": nnunet(nonlin="own_code.Network")}, rf"nonlin {LAYER} own_code\.Network"),
    "an object in plans": ({"plans": nnunet(norm_op_kwargs={"_target_": "os.system"})}, OBJECT),
    "a class in an adaptation plan": (adapted("os.system"), "adaptation_plan must be one of .+, got os.system"),
    "a layer in an adaptation plan": (adapted(conv_op="os.system"), rf"conv_op {LAYER} os\.system"),
    "an object in an adaptation plan": (adapted(nonlin={"_target_": "os.system"}), OBJECT),
    "a trainer": ({"trainer": "own_code", "plans": {}, "plan": {}}, "must name a trainer of nnU-Net .*, got own_code"),
    "a class in a trainer's plans": (
        {"trainer": "nnUNetTrainer", "plans": {}, "plan": {"architecture": nnunet(conv_op="os.system")}},
        rf"conv_op {LAYER} os\.system"),
    "nothing": ({"other": 3}, "does not describe the network: KeyError"),
    "no settings": ({"class": "monai.networks.nets.UNet", "settings": 3}, "does not describe the network: TypeError"),
    "a wrong setting": (unet(channels="many"), "cannot build a network from"),
    "no tuple": (unet(act={"_tuple_": 3}), "does not describe the network: TypeError"),
}  # fmt: skip


@pytest.mark.bad_input
@pytest.mark.parametrize("fault", HOSTILE)
def test_a_hostile_sidecar_is_one_line_and_runs_nothing(fault, small, own_code, tmp_path):
    description, message = HOSTILE[fault]
    shutil.copytree(small, tmp_path / "winner")
    edited(tmp_path / "winner", lambda node: description)
    del sys.modules["own_code"]
    (tmp_path / "ran").unlink()
    with pytest.raises(InputError, match=message) as error:
        opened(tmp_path / "winner")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()
    assert "own_code" not in sys.modules


@pytest.mark.parametrize("key", ["factory", "network"], ids=["described", "as in conf/arch"])
def test_weights_that_a_class_would_fetch_are_not_fetched(key, monkeypatch, tmp_path):
    settings = {"backbone": "resnet10", "spatial_dims": 3, "decoder_channels": [16, 8, 8, 4, 4]}
    write_source(made(partial(nets.FlexibleUNet, **settings)), tmp_path / "winner")
    asking = {"class": "monai.networks.nets.FlexibleUNet", "settings": settings | {"pretrained": True}}
    path = tmp_path / "winner" / SIDECAR
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["architecture"]["factory"]
    flat = {"_target_": asking["class"], "_partial_": True} | asking["settings"]
    content["architecture"][key] = asking if key == "factory" else flat
    path.write_text(json.dumps(content), encoding="utf-8")
    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("opened a connection"))
    assert opened(tmp_path / "winner").network().state_dict().keys()


@pytest.mark.bad_input
@pytest.mark.parametrize("depth", [900, 200_000])
def test_values_nested_without_end_are_one_line(depth, small, tmp_path):
    shutil.copytree(small, tmp_path / "winner")
    edited(tmp_path / "winner", lambda node: unet(act="NESTED"))
    path = tmp_path / "winner" / SIDECAR
    text = path.read_text(encoding="utf-8").replace('"NESTED"', "[" * depth + "]" * depth)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"^cannot (read|build) .+"):
        opened(tmp_path / "winner")
