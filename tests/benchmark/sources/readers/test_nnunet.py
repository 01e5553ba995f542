"""Checkpoints of nnU-Net wherever they lie: results folders, single files, trainers with networks of their own."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from hydra.utils import instantiate
from monai.networks.nets import BasicUNet
from torch import nn

from benchmark.errors import InputError
from benchmark.sources.networks.stunet import STUNet
from benchmark.sources.readers import nnunet_trainers
from benchmark.sources.readers.nnunet import NnunetSource
from benchmark.sources.readers.recognise import recognise, recognise_pool
from benchmark.sources.readers.state_dict import StateDictSource
from tests.checkpoints import LABELS, write_nnunet

FINAL = "fold_0/checkpoint_final.pth"
NAMES = {value: name for name, value in LABELS.items()}
FEATURES = [4, 4, 8]


def opened(path, **settings):
    return instantiate(recognise(path) | settings, _convert_="all").open()


def logits(model):
    window = model.arch.fit((32,) * 3)
    image = torch.randn(1, model.channels, *window, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.network()(image)


def read(path):
    return torch.load(path, weights_only=False)


def changed(path, to=None, **keys):
    """The checkpoint with other top-level keys; None leaves one out."""
    content = {key: value for key, value in (read(path) | keys).items() if value is not None}
    torch.save(content, to or path)
    return to or path


def replanned(place, change):
    """A results folder whose plans, on disk and in its checkpoint, are changed by a function."""
    plans = json.loads((place / "plans.json").read_text(encoding="utf-8"))
    change(plans)
    (place / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    init_args = read(place / FINAL)["init_args"] | {"plans": plans}
    changed(place / FINAL, init_args=init_args)
    return place


def relabelled(place, labels):
    dataset = json.loads((place / "dataset.json").read_text(encoding="utf-8")) | {"labels": labels}
    (place / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    return place


def configuration(plans):
    (only,) = plans["configurations"].values()
    return only


@pytest.fixture
def place(tmp_path):
    """A results folder."""
    return write_nnunet(tmp_path / "results" / "Dataset501_Made")


@pytest.fixture
def lone(place, tmp_path):
    """Its checkpoint under another name, in another folder."""
    (tmp_path / "loose").mkdir()
    return shutil.copy(place / FINAL, tmp_path / "loose" / "totalseg_291.pth")


# --- single files ---


@pytest.mark.parametrize(("dims", "cls"), [(3, "PlainConvUNet"), (2, "ResidualEncoderUNet")])
def test_a_single_checkpoint_is_what_its_results_folder_is(tmp_path, dims, cls):
    place = write_nnunet(tmp_path / "Dataset501_Made", dims=dims, cls=cls)
    (tmp_path / "loose").mkdir()
    lone = shutil.copy(place / FINAL, tmp_path / "loose" / "renamed.pth")
    (node,) = recognise_pool(tmp_path / "loose").nodes.values()
    assert (node["_target_"].rpartition(".")[2], node["path"]) == ("NnunetSource", str(lone))
    whole, model = opened(place), opened(lone)
    assert model.name == "renamed"
    assert (model.labels, model.patch, model.preparation) == (NAMES, whole.patch, whole.preparation)
    assert model.facts["configuration"] == {2: "2d", 3: "3d_fullres"}[dims]
    assert "plans.json and dataset.json as in the checkpoint's own init_args" in model.notes
    torch.testing.assert_close(logits(model), logits(whole))


def test_a_single_checkpoint_without_plans_names_the_files_that_complete_it(place, lone):
    changed(lone, init_args={"configuration": "3d_fullres", "fold": 0})
    folder = lone.parent
    with pytest.raises(InputError) as error:
        opened(lone)
    assert str(error.value) == (
        f"{folder / 'plans.json'}, {folder / 'dataset.json'} not found, and {lone} has no copy in its init_args; "
        "nnU-Net writes plans.json and dataset.json into the folder Trainer__Plans__configuration, which contains "
        f"fold_X: copy the files to {folder}"
    )
    with pytest.raises(InputError, match="choose a file of a results folder, but path is the file "):
        opened(lone, fold=1)
    shutil.copy(place / "plans.json", folder)
    with pytest.raises(InputError, match=r"dataset\.json not found, and .+ copy the file to "):
        opened(lone)
    shutil.copy(place / "dataset.json", folder)
    assert [node["path"] for node in recognise_pool(folder).nodes.values()] == [str(folder)]
    for path in (lone, folder):
        torch.testing.assert_close(logits(opened(path)), logits(opened(place)))


@pytest.mark.parametrize("cls", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_weights_alone_name_the_files_that_complete_them(tmp_path, cls):
    place = write_nnunet(tmp_path / "results" / "Dataset501_Made", cls=cls)
    expected = logits(opened(place))
    lone = tmp_path / "weights.pt"
    torch.save(read(place / FINAL)["network_weights"], lone)
    with pytest.raises(InputError, match=r"nnU-Net's network, not read: its settings are in plans\.json and dataset"):
        opened(lone)
    lone.replace(place / FINAL)  # as the line says
    torch.testing.assert_close(logits(opened(place)), expected)


def test_a_results_folder_without_its_plans_takes_those_of_the_checkpoint(place):
    expected, digest = logits(opened(place)), NnunetSource("a", place).digest()
    (place / "plans.json").unlink()
    model = opened(place)
    assert "plans.json as in the checkpoint's own init_args" in model.notes
    torch.testing.assert_close(logits(model), expected)
    assert NnunetSource("a", place).digest() != digest
    changed(place / FINAL, init_args={"configuration": "3d_fullres"})
    with pytest.raises(InputError, match=rf"^{place / 'plans.json'} not found, and .+ copy the file to {place}$"):
        opened(place)


def test_a_checkpoint_of_nnssl_is_not_one_of_nnunet(place, lone):
    changed(lone, nnssl_adaptation_plan={"key_to_encoder": "encoder.stages"})
    assert recognise(lone)["_target_"].endswith("StateDictSource")
    (place / "adaptation_plan.json").write_text("{}")
    assert NnunetSource.recognises(place) is None


# --- which checkpoint of a folder ---


def test_an_unfinished_checkpoint_is_read_with_a_note_if_there_is_no_other(place):
    unfinished = "the training may be unfinished"
    (place / FINAL).rename(place / "fold_0" / "checkpoint_latest.pth")
    none = "no fold has checkpoint_final.pth or checkpoint_best.pth"
    assert f"checkpoint_latest.pth is read because {none}; {unfinished}" in opened(place).notes
    (place / "fold_0" / "checkpoint_latest.pth").rename(place / "fold_0" / "checkpoint_1000.pth")
    shutil.copy(place / "fold_0" / "checkpoint_1000.pth", place / "fold_0" / "checkpoint_950.pth")
    notes = opened(place).notes
    assert f"checkpoint_1000.pth is read because {none} or checkpoint_latest.pth; {unfinished}" in notes
    assert "other checkpoints of the results folder: fold_0/checkpoint_950.pth" in notes
    assert len(recognise_pool(place.parent).nodes) == 1
    assert opened(place / "fold_0" / "checkpoint_950.pth").notes[0] == "fold_0, checkpoint_950.pth"
    assert opened(place, checkpoint="checkpoint_950.pth").facts["path"].endswith("950.pth")


# --- plans and heads ---


def test_a_residual_network_of_older_plans_is_built(tmp_path):
    """nnU-Net before 2.4 names the class of a module that the network package no longer has."""
    place = write_nnunet(tmp_path / "Dataset501_Made", cls="ResidualEncoderUNet")
    expected = logits(opened(place))

    def older(plans):
        kwargs = configuration(plans).pop("architecture")["arch_kwargs"]
        configuration(plans).update(
            UNet_class_name="ResidualEncoderUNet",
            UNet_base_num_features=4,
            unet_max_num_features=16,
            num_pool_per_axis=[2, 2, 2],
            conv_kernel_sizes=kwargs["kernel_sizes"],
            pool_op_kernel_sizes=kwargs["strides"],
            n_conv_per_stage_encoder=kwargs["n_blocks_per_stage"],
            n_conv_per_stage_decoder=kwargs["n_conv_per_stage_decoder"],
        )

    torch.testing.assert_close(logits(opened(replanned(place, older))), expected)


def test_a_cascade_is_named(place):
    def cascade(plans):
        plans["configurations"]["3d_cascade_fullres"] = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}

    replanned(place, cascade)
    with pytest.raises(InputError, match="3d_cascade_fullres is a cascade, whose input is another network's"):
        opened(place, configuration="3d_cascade_fullres")


def test_regions_and_an_ignored_label_name_the_channels_of_the_head(place):
    relabelled(place, {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3})
    model = opened(place)
    assert model.labels == {0: "whole", 1: "core", 2: "enhancing"}
    assert "its head has a channel per region; regions are read as exclusive classes" in model.notes
    assert opened(relabelled(place, LABELS | {"ignore": 3})).labels == NAMES
    with pytest.raises(InputError, match=r"dataset\.json: labels must name the head's 3 channels, got 4$"):
        opened(relabelled(place, LABELS | {"cyst": 3}))


# --- trainers with networks of their own ---


def stunet(strides):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return STUNet(1, 3, widths=[4, 4, 8], blocks=[1, 1, 1], strides=strides).eval()


def test_the_network_of_an_stunet_trainer_is_built_with_the_strides_of_its_plans(place):
    strides = [[1, 2, 2], [2, 2, 2]]
    network = stunet(strides)
    replanned(
        place, lambda plans: configuration(plans)["architecture"]["arch_kwargs"].update(strides=[[1, 1, 1], *strides])
    )
    changed(place / FINAL, trainer_name="STUNetTrainer_small_ft", network_weights=network.state_dict())
    model = opened(place)
    assert (model.arch.name, model.labels, model.patch) == ("stunet", NAMES, (32, 32, 32))
    assert model.preparation.spacing == (1.0,) * 3
    assert "trainer STUNetTrainer_small_ft: its network is not that of plans.json" in model.notes
    assert "strides of STUNet as in plans.json: [[1, 2, 2], [2, 2, 2]]" in model.notes
    assert "assumed" not in model.facts
    image = torch.randn(1, 1, *model.arch.fit((32,) * 3), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(logits(model), network(image))


class Wide(nn.Module):
    """A trainer of the installed nnU-Net that builds another network."""

    @staticmethod
    def build_network_architecture(plans, plan, channels, classes, supervised):
        assert (plan.patch_size, supervised) == ([32, 32, 32], False)
        return BasicUNet(3, channels, classes, features=(4, 4, 8, 8, 16, 4))


def test_the_network_of_one_of_nnunets_own_trainers_is_built_by_its_class(place, monkeypatch):
    trainers = {"Wide": nnunet_trainers.TrainerClass(__name__, "nnUNetTrainer", builds=True)}
    monkeypatch.setattr(nnunet_trainers, "_trainers", lambda: trainers)
    network = Wide.build_network_architecture(plan_of_32(), plan_of_32(), 1, 3, False).eval()
    weights = {f"net.{name}": tensor for name, tensor in network.state_dict().items()}
    changed(place / FINAL, trainer_name="Wide", network_weights=weights)
    monkeypatch.setattr("benchmark.sources.readers.nnunet.recognised", unrecognised)
    model = opened(place)
    assert "trainer Wide: the network that nnU-Net's Wide builds" in model.notes
    image = torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(logits(model), network(image), rtol=1e-4, atol=1e-4)


class Tokens(nn.Module):
    """A trainer whose network is a transformer: a map of tokens that no module returns, and a head for all of them."""

    def __init__(self, classes):
        super().__init__()
        self.down_projection = nn.Conv3d(1, 6, 8, stride=8)
        self.eva = nn.Module()
        self.eva.pos_embed = nn.Parameter(torch.ones(1, 64, 6))
        self.up_projection = nn.ConvTranspose3d(6, classes, 8, stride=8)

    def forward(self, image):
        grid = self.down_projection(image)
        return self.up_projection(grid + self.eva.pos_embed.mT.reshape(1, 6, 4, 4, 4))

    @staticmethod
    def build_network_architecture(plans, plan, channels, classes, supervised):
        return Tokens(classes)


def test_the_tokens_of_one_of_nnunets_transformers_are_its_tap(place, monkeypatch):
    trainers = {"Tokens": nnunet_trainers.TrainerClass(__name__, "nnUNetTrainer", builds=True)}
    monkeypatch.setattr(nnunet_trainers, "_trainers", lambda: trainers)
    monkeypatch.setattr("benchmark.sources.readers.nnunet.recognised", unrecognised)
    changed(place / FINAL, trainer_name="Tokens", network_weights=Tokens(3).state_dict())
    model = opened(place)
    assert (model.arch.taps, model.arch.head, model.patch) == (("tokens",), ("up_projection",), (32, 32, 32))
    network, maps = model.network(), []
    network.get_submodule("tokens").register_forward_hook(lambda *call: maps.append(call[-1].shape))
    assert network(torch.zeros(1, 1, 32, 32, 32)).shape == (1, 3, 32, 32, 32)
    assert maps == [(1, 6, 4, 4, 4)]


def plan_of_32():
    return type("Plan", (), {"patch_size": [32, 32, 32]})


def unrecognised(*args, **settings):
    raise InputError("source a: no network is known")


@pytest.mark.parametrize(
    ("trainer", "line"),
    [
        ("MyTrainer", r"missing .+; trainer MyTrainer is not one of nnU-Net's own, and its weights are of no other "),
        (
            "nnUNet_Primus_M_Trainer",
            r"^trainer nnUNet_Primus_M_Trainer builds a network of its own, which plans",
        ),
        ("nnUNetTrainer", r"weights do not match the network: missing .+"),
    ],
)
def test_a_trainer_whose_network_is_not_known_is_named(place, trainer, line):
    weights = nn.Sequential(nn.Conv3d(1, 4, 3), nn.Conv3d(4, 3, 1)).state_dict()
    changed(place / FINAL, trainer_name=trainer, network_weights=weights)
    with pytest.raises(InputError, match=line) as error:
        opened(place)
    assert len(str(error.value).splitlines()) == 1


# --- nnU-Net v1 ---


def write_version_1(folder, network):
    content = {"epoch": 3, "state_dict": network.state_dict(), "optimizer_state_dict": None, "plot_stuff": ([], [])}
    path = folder / "Task101_A" / "nnUNetTrainerV2__nnUNetPlansv2.1" / "fold_0" / "model_final_checkpoint.model"
    path.parent.mkdir(parents=True)
    torch.save(content, path)
    return path


def test_weights_of_version_1_are_named_whatever_their_suffix(tmp_path):
    torch.save({"conv_blocks_context.0.blocks.0.conv.weight": torch.ones(4, 1, 3, 3, 3)}, tmp_path / "v1.pth")
    with pytest.raises(InputError, match="weights are those of nnU-Net v1's network, not read: only nnU-Net v2"):
        opened(tmp_path / "v1.pth")


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_model_of_version_1_is_named_with_and_without_its_plans(tmp_path, is_zip):
    path = write_version_1(tmp_path, nn.Conv3d(1, 2, 1))
    if not is_zip:
        torch.save(read(path), path, _use_new_zipfile_serialization=False)
    for _ in range(2):
        with pytest.raises(InputError, match="is a model of nnU-Net v1, and only nnU-Net v2 is read"):
            recognise(path)
        with pytest.raises(InputError, match=r"holds no checkpoint: .+ a model of nnU-Net v1"):
            recognise(tmp_path)
        path.with_name(f"{path.name}.pkl").touch()


def test_a_model_of_version_1_whose_network_is_known_is_read(tmp_path):
    network = stunet([[2, 2, 2], [1, 1, 2]])
    path = write_version_1(tmp_path, network)
    model = opened(path, settings={"strides": [[2, 2, 2], [1, 1, 2]]})
    image = torch.randn(1, 1, *model.arch.fit((32,) * 3), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(logits(model), network(image))
    assert recognise(tmp_path)["_target_"].endswith(StateDictSource.__name__)


# --- the terminal ---

SCRIPT = """
import sys
from hydra.utils import instantiate
from benchmark.sources.readers.recognise import recognise_pool
for node in recognise_pool(sys.argv[1:]).nodes.values():
    try:
        instantiate(node, _convert_="all").open().network()
    except ValueError as error:
        sys.exit(str(error))
"""


def test_nnunet_prints_nothing(place, lone, tmp_path):
    """Without its environment variables, with plans of an old version, from a folder and from a single file."""
    plans = json.loads((place / "plans.json").read_text(encoding="utf-8"))
    kwargs = configuration(plans).pop("architecture")["arch_kwargs"]
    configuration(plans).update(
        UNet_class_name="PlainConvUNet",
        UNet_base_num_features=4,
        unet_max_num_features=16,
        num_pool_per_axis=[2, 2, 2],
        conv_kernel_sizes=kwargs["kernel_sizes"],
        pool_op_kernel_sizes=kwargs["strides"],
        n_conv_per_stage_encoder=kwargs["n_conv_per_stage"],
        n_conv_per_stage_decoder=kwargs["n_conv_per_stage_decoder"],
    )
    changed(lone, init_args=read(lone)["init_args"] | {"plans": plans})
    (place / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("nnUNet")}
    command = [sys.executable, "-c", SCRIPT, str(place), str(lone)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
