"""Sources from anywhere: what is written is what comes back, whatever the format, and the logits are the same."""

import json
import re
import shutil
import sys
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import mlflow.pytorch
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from mlflow import MlflowClient
from monai.networks import nets

from benchmark.data.preprocessing.normalise import ChannelSchemes, Normalisation, Scheme
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.errors import InputError, SkipPair
from benchmark.features.taps import Taps
from benchmark.jobs.stage_keys import source_key
from benchmark.sources.model import Source
from benchmark.sources.networks.discover import discovered
from benchmark.sources.pairing import adapted
from benchmark.sources.readers import folder_search
from benchmark.sources.readers.candidates import single_file, source_name
from benchmark.sources.readers.mlflow import Artifacts, ArtifactSource
from benchmark.sources.readers.recognise import recognise, recognise_pool
from benchmark.sources.readers.state_dict import StateDictSource
from benchmark.sources.weights.checkpoint import SIDECAR
from benchmark.sources.weights.digest import weights_digest
from benchmark.sources.weights.match import fitted
from tests.checkpoints import (
    LABELS,
    SMALL,
    plans,
    plans_network,
    small_network,
    write_bundle,
    write_file,
    write_nnunet,
    write_weights,
)

NEAR = {"rtol": 1e-4, "atol": 1e-4}  # of float32 logits near 1: another memory layout adds in another order
NAMES = {value: name for name, value in LABELS.items()}


def opened(path, **settings):
    source = instantiate(recognise(path) | settings, _convert_="all")
    assert isinstance(source, Source)
    return source.open()


def volume(model, side=32):
    window = model.arch.fit((side,) * 3)
    return torch.randn(2, model.channels, *window, generator=torch.Generator().manual_seed(1))


def logits(model):
    with torch.no_grad():
        return model.network()(volume(model))


def reference(network, image, dims):
    with torch.no_grad():
        return network.eval()(image.squeeze(2)).unsqueeze(2) if dims == 2 else network.eval()(image)


# SwinUNETR takes no patch under 64 voxels: in three dimensions it is slow
NETWORKS = [
    pytest.param(name, dims, suffix, marks=[pytest.mark.slow] if (name, dims) == ("SwinUNETR", 3) else [])
    for name, suffix in (
        ("DynUNet", ".pt"), ("UNet", ".pth"), ("UNETR", ".safetensors"), ("SwinUNETR", ".ckpt"), ("SegResNet", ".pt"),
        ("BasicUNet", ".bin"), ("VNet", ".pth"),
    )
    for dims in (3, 2)
]  # fmt: skip


@pytest.mark.parametrize(("name", "dims", "suffix"), NETWORKS)
def test_a_state_dict_is_recognised_with_its_channels_and_classes(tmp_path, name, dims, suffix):
    network = small_network(name, dims=dims, channels=2, classes=4, seed=3)
    model = opened(write_weights(network, tmp_path / f"mine{suffix}"))
    assert (model.name, model.channels, model.classes, model.arch.dims) == ("mine", 2, 4, dims)
    assert f"recognised as {name} by its weights" in model.notes
    torch.testing.assert_close(logits(model), reference(network, volume(model), dims), **NEAR)


def test_wrappers_are_taken_off_and_said(tmp_path):
    network = small_network("DynUNet")
    for suffix, lines in ((".pth", ["under 'model'", "'module.' is taken off"]), (".ckpt", ["'net.' is taken off"])):
        model = opened(write_weights(network, tmp_path / f"mine{suffix}"))
        assert all(any(line in note for note in model.notes) for line in lines), model.notes
        assert set(model.weights) == set(network.state_dict())


def test_a_named_architecture_reads_the_same_as_a_recognised_one(tmp_path, compose_command):
    cfg = compose_command("pretrain", "source=scratch", "source.arch.width=4")
    arch = instantiate(cfg.source.arch)
    path = write_weights(arch.build(channels=1, classes=3, seed=5), tmp_path / "mine.pt")
    named = StateDictSource("mine", path, arch=arch, labels=NAMES).open()
    model = StateDictSource("mine", path).open()
    assert named.labels == NAMES
    assert (tuple(named.arch.taps), tuple(named.arch.head)) == (model.arch.taps, model.arch.head)
    torch.testing.assert_close(logits(named), logits(model))


def test_two_networks_in_one_file_need_a_prefix(tmp_path):
    path = tmp_path / "pair.pt"
    student, teacher = small_network("DynUNet", seed=1), small_network("DynUNet", seed=2)
    torch.save({f"{name}.{at}": tensor for name, net in (("student", student), ("teacher", teacher))
                for at, tensor in net.state_dict().items()}, path)  # fmt: skip
    several = r"several networks \(student\.: DynUNet, teacher\.: DynUNet\); say which by `prefix:`"
    with pytest.raises(InputError, match=several):
        opened(path)
    model = opened(path, prefix="teacher.")
    torch.testing.assert_close(logits(model), reference(teacher, volume(model), 3))


# --- nnU-Net ---


@pytest.mark.parametrize("dims", [3, 2])
@pytest.mark.parametrize("cls", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_an_nnunet_folder_gives_network_labels_and_preparation(tmp_path, cls, dims):
    place = write_nnunet(tmp_path / "Dataset501_Made", dims=dims, cls=cls)
    model = opened(place)
    network = plans_network(plans(dims, cls=cls))
    assert model.name == f"Dataset501_Made__{place.name.rpartition('__')[2]}"
    assert (model.channels, model.classes, model.labels) == (1, 3, NAMES)
    assert model.patch == ((1, 32, 32) if dims == 2 else (32, 32, 32))
    assert model.preparation.spacing == (1.0,) * dims
    assert model.preparation.normalisation.schemes[0].mean == 50.0
    assert model.arch.taps == ("decoder.stages.0", "decoder.stages.1")
    image = volume(model)
    torch.testing.assert_close(logits(model), reference(network, image, dims))
    with torch.no_grad(), Taps(model.network(), model.arch.taps) as taps:
        taps_network = taps._modules  # entered on a network of its own
        assert list(taps_network) == list(model.arch.taps)


def test_folds_and_checkpoints_are_chosen(tmp_path):
    place = write_nnunet(tmp_path / "Dataset501_Made", fold="0")
    write_nnunet(tmp_path / "Dataset501_Made", fold="1")
    shutil.copy(place / "fold_1" / "checkpoint_final.pth", place / "fold_1" / "checkpoint_best.pth")
    assert opened(place).notes[0] == "fold_0, checkpoint_final.pth"
    assert opened(place / "fold_1").notes[0] == "fold_1, checkpoint_final.pth"
    assert opened(place, fold=1, checkpoint="best").notes[0] == "fold_1, checkpoint_best.pth"
    assert opened(place / "fold_1" / "checkpoint_best.pth").notes[0] == "fold_1, checkpoint_best.pth"


def test_a_plan_of_an_older_nnunet_is_understood(tmp_path):
    place = write_nnunet(tmp_path / "Dataset501_Made", stages=4)
    content = json.loads((place / "plans.json").read_text(encoding="utf-8"))
    configuration = content["configurations"]["3d_fullres"]
    kwargs = configuration.pop("architecture")["arch_kwargs"]
    configuration |= {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 4,
        "unet_max_num_features": 16,
        "num_pool_per_axis": [3, 3, 3],
        "conv_kernel_sizes": kwargs["kernel_sizes"],
        "pool_op_kernel_sizes": kwargs["strides"],
        "n_conv_per_stage_encoder": kwargs["n_conv_per_stage"],
        "n_conv_per_stage_decoder": kwargs["n_conv_per_stage_decoder"],
    }
    new = logits(opened(place))
    (place / "plans.json").write_text(json.dumps(content), encoding="utf-8")
    torch.testing.assert_close(logits(opened(place)), new)


# --- bundles, files, factories, MLflow ---


@pytest.mark.parametrize("trust", [False, True])
def test_a_bundle_is_read_with_and_without_trust(tmp_path, trust):
    model = opened(write_bundle(tmp_path / "bundle", name="SegResNet"), trust=trust)
    assert (model.labels, model.patch, model.arch.name) == (NAMES, (32, 32, 32), "segresnet")
    torch.testing.assert_close(logits(model), reference(small_network("SegResNet"), volume(model), 3))


def test_a_reference_in_a_bundle_is_followed_where_it_is_plain(tmp_path):
    folder = write_bundle(tmp_path / "bundle")
    config = json.loads((folder / "configs" / "train.json").read_text(encoding="utf-8"))
    config["dims"], config["network_def"]["spatial_dims"] = 3, "@dims"
    (folder / "configs" / "train.json").write_text(json.dumps(config), encoding="utf-8")
    assert opened(folder).arch.dims == 3


def test_our_own_folder_comes_back(tmp_path):
    model = opened(write_file(tmp_path / "scratch"))
    assert (model.name, model.classes, model.patch) == ("scratch", 2, (32, 32, 32))
    torch.testing.assert_close(logits(model), reference(small_network("DynUNet", classes=2), volume(model), 3))


FACTORY = """
from torch import nn

def make(in_channels, out_channels, width=3):
    return nn.Sequential(nn.Conv3d(in_channels, width, 3, padding=1), nn.ReLU(), nn.Conv3d(width, out_channels, 1))
"""


def test_a_factory_makes_the_network(tmp_path, monkeypatch):
    (tmp_path / "my_networks.py").write_text(FACTORY, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    node = recognise("my_networks:make") | {"settings": {"width": 5}}
    assert instantiate(node).open().notes == ("initial weights",)
    network = sys.modules["my_networks"].make(2, 4, width=5)
    torch.save(network.state_dict(), tmp_path / "best.pt")
    model = instantiate(node | {"path": str(tmp_path / "best.pt")}).open()
    assert (model.name, model.channels, model.classes, model.arch.taps, model.arch.head) == (
        "make",
        2,
        4,
        ("1",),
        ("2",),
    )
    torch.testing.assert_close(logits(model), reference(network, volume(model), 3))
    before = source_key_of(node)
    (tmp_path / "my_networks.py").write_text(FACTORY.replace("ReLU", "ELU"), encoding="utf-8")
    assert source_key_of(node) != before, "another function is another source"


def source_key_of(node):
    from omegaconf import OmegaConf

    return source_key(OmegaConf.create(node))


def corrupt(path, *place):
    """Puts a text where a file of JSON has something else."""
    content = json.loads(path.read_text(encoding="utf-8"))
    inner = content
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = "corrupt"
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("write", "place"),
    [
        (write_file, (SIDECAR, "architecture", "network", "strides")),
        (write_file, (SIDECAR, "config")),
        (write_bundle, ("configs/metadata.json", "network_data_format")),
        (write_bundle, ("configs/train.json", "network_def", "spatial_dims")),
        (partial(write_nnunet, dims=3, cls="PlainConvUNet"), ("plans.json", "configurations")),
        (partial(write_nnunet, dims=3, cls="PlainConvUNet"), ("dataset.json", "labels", "liver")),
    ],
)
def test_a_description_of_a_wrong_kind_is_told_in_one_line(write, place, tmp_path):
    write(tmp_path / "Dataset501_X")
    (path,) = (tmp_path / "Dataset501_X").rglob(place[0])
    corrupt(path, *place[1:])
    with pytest.raises(
        InputError, match=r"cannot build a network from \S+: \w+Error: .+|must be a JSON object, got str$"
    ):
        opened(tmp_path / "Dataset501_X")


def test_trust_goes_with_a_file_of_a_folder(tmp_path):
    write_nnunet(tmp_path / "Dataset501_X", dims=3, cls="PlainConvUNet")
    (path,) = (tmp_path / "Dataset501_X").rglob("checkpoint_*.pth")
    assert recognise(path, trust=True)["trust"]
    assert "trust" not in recognise(path)


def test_an_artifact_whose_fetching_stops_is_fetched_again(tmp_path):
    weights = write_weights(small_network("DynUNet"), tmp_path / "best.pt")

    def fetch(path, folder, *, stops):
        (folder / "readme.txt").write_text("first")
        if stops:
            raise KeyboardInterrupt
        shutil.copy(weights, folder)

    stopped, whole = (
        ArtifactSource("a", "runs:/1/m", partial(fetch, stops=stops), tmp_path / "kept") for stops in (True, False)
    )
    with pytest.raises(KeyboardInterrupt):
        stopped.digest()
    assert whole.open().arch.name == "dynunet"


def logged(place, path, name="model"):
    """The address of an artifact in a run of its own."""
    client = MlflowClient(place.uri)
    run = client.create_run(client.create_experiment(name, artifact_location=path.parent.as_uri())).info.run_id
    (client.log_artifacts if path.is_dir() else client.log_artifact)(run, str(path), name)
    return run, f"runs:/{run}/{name}"


def test_an_artifact_is_fetched_and_recognised(place, tmp_path):
    run, address = logged(place, write_weights(small_network("DynUNet"), tmp_path / "best.pt"))
    artifacts = Artifacts(place.uri, tmp_path / "kept")
    node = recognise(address, artifacts=artifacts)
    source = instantiate(node)
    assert source.open().arch.name == "dynunet"
    assert list(recognise_pool([address], artifacts=artifacts).nodes.values()) == [node]
    MlflowClient(place.uri).delete_run(run)
    again = instantiate(node)
    assert again.digest() == source.digest(), "it is kept"
    nowhere = instantiate(recognise("runs:/0123/model", artifacts=artifacts))
    with pytest.raises(InputError, match=r"source: cannot download the artifact runs:/0123/model from sqlite:.+: .+"):
        nowhere.open()


def test_an_address_is_looked_up_in_its_own_store(place, tmp_path, monkeypatch):
    """The registry too, which MLflow looks up in the store of the process."""
    monkeypatch.chdir(tmp_path)
    _, address = logged(place, write_weights(small_network("DynUNet"), tmp_path / "best.pt"))
    client = MlflowClient(place.uri)
    client.create_registered_model("liver")
    client.create_model_version("liver", client.get_run(address.split("/")[1]).info.artifact_uri + "/model")
    before = mlflow.get_tracking_uri()
    source = instantiate(recognise("models:/liver/1", artifacts=Artifacts(place.uri, tmp_path / "kept")))
    assert source.open().arch.name == "dynunet"
    assert mlflow.get_tracking_uri() == before
    for uri in (None, "sqlite:///mlflow.db", f"sqlite:///{tmp_path}/other.db", "mlruns"):
        other = instantiate(recognise("models:/liver/1", artifacts=Artifacts(uri, tmp_path / "other")))
        with pytest.raises(InputError, match=r"the tracking store \S+ does not exist; set tracking\.uri to .*"):
            other.open()
    assert not {"mlflow.db", "other.db", "mlruns"} & {path.name for path in tmp_path.iterdir()}


@pytest.mark.bad_input
def test_a_model_logged_whole_is_refused_with_the_way_out(place, tmp_path):
    folder = tmp_path / "whole"
    mlflow.pytorch.save_model(
        small_network("DynUNet"), folder, serialization_format="pickle", pip_requirements=["torch"]
    )
    assert (folder / "data" / "model.pth").is_file()
    _, address = logged(place, folder)
    line = r"a whole model in MLflow \(log_model\), .*; log them with mlflow\.pytorch\.log_state_dict\("
    with pytest.raises(InputError, match=rf"source runs:/\S+/model holds no checkpoint: model: {line}"):
        instantiate(recognise(address, artifacts=Artifacts(place.uri, tmp_path / "kept"))).open()
    with pytest.raises(InputError, match=rf"source \S+whole is {line}"):
        recognise(folder)
    write_weights(small_network("DynUNet"), tmp_path / "net.pt")
    pool = recognise_pool(tmp_path)
    assert "net" in pool.nodes
    assert re.match(line, pool.left["whole"])


# --- pools ---


def test_a_pool_is_recognised_under_its_names(checkpoints):
    pool = recognise_pool(checkpoints["scratch"].parent)
    assert set(pool.nodes) == set(checkpoints)
    assert pool.left == {}


@dataclass(frozen=True)
class ArraysSource:
    """A checkpoint format that the project does not know: numpy's arrays."""

    name: str
    path: str
    labels: dict | None = None

    @classmethod
    def recognises(cls, path):
        return single_file(cls, path) if path.suffix == ".npz" else None

    def digest(self):
        return weights_digest(Path(self.path))

    def open(self):
        network = partial(nets.SegResNet, **SMALL["SegResNet"])
        weights = {name: torch.from_numpy(array) for name, array in np.load(self.path).items()}
        arch = discovered("segresnet", network, dims=3)
        return fitted(arch, weights, source=self.name).model(self.name, arch, facts={}, labels=self.labels)


def test_a_format_is_one_reader_and_one_yaml(tmp_path, monkeypatch, compose_command):
    network, pool = small_network("SegResNet"), tmp_path / "pool"
    write_weights(small_network("VNet"), pool / "known.pt")
    np.savez(pool / "new.npz", **{name: tensor.numpy() for name, tensor in network.state_dict().items()})
    assert set(recognise_pool(pool).nodes) == {"known"}

    monkeypatch.setattr(folder_search, "READERS", (ArraysSource, *folder_search.READERS))
    recognised = recognise_pool(pool, trust=True)
    assert {name: node["_target_"].rpartition(".")[2] for name, node in recognised.nodes.items()} == {
        "known": "StateDictSource",
        "new": "ArraysSource",
    }
    model = instantiate(recognised.nodes["new"]).open()
    torch.testing.assert_close(logits(model), reference(network, volume(model), 3), **NEAR)
    assert opened(pool / "new.npz").name == "new", "and outside a pool"

    target = recognised.nodes["new"]["_target_"]
    (tmp_path / "conf" / "source").mkdir(parents=True)
    (tmp_path / "conf" / "source" / "arrays.yaml").write_text(
        f"_target_: {target}\n_convert_: all\nname: ${{source_name:${{.path}}}}\npath: ???\nlabels: null\n"
    )
    further = f"hydra.searchpath=[file://{tmp_path / 'conf'}]"
    node = compose_command("pretrain", further, "source=arrays", f"source.path={pool / 'new.npz'}").source
    assert source_key(node) != source_key_of(recognised.nodes["known"])
    assert instantiate(node, labels=NAMES).open().labels == NAMES


def test_names_are_readable():
    assert source_name("/x/unet.best.pt") == "unet.best"
    assert source_name("/x/Dataset501_A/nnUNetTrainer__nnUNetPlans__2d/fold_3") == "Dataset501_A__2d"
    assert source_name("models:/liver/3") == "3"
    assert source_name("package.nets:make") == "make"


CT = Scheme("CTNormalization", mean=1.0, std=2.0, low=-3.0, high=4.0)
PREPARATIONS = {
    "window": Preparation(Normalisation((-160.0, 240.0))),
    "own mean": Preparation(),
    "plan": Preparation(ChannelSchemes((CT,)), spacing=(2.5, 0.8, 0.8), transpose=(0, 1, 2), crop=True),
}


@pytest.mark.parametrize("name", PREPARATIONS)
def test_a_folder_of_ours_tells_how_its_data_were_prepared(name, tmp_path):
    folder = write_file(tmp_path / "ours")
    facts = json.loads((folder / SIDECAR).read_text())
    (folder / SIDECAR).write_text(json.dumps(facts | {"preparation": asdict(PREPARATIONS[name])}))
    assert opened(folder).preparation == PREPARATIONS[name]


def test_equal_files_have_equal_keys_wherever_they_lie(tmp_path):
    first = write_weights(small_network("DynUNet"), tmp_path / "a" / "mine.pt")
    second = write_weights(small_network("DynUNet"), tmp_path / "b" / "mine.pt")
    other = write_weights(small_network("DynUNet", seed=1), tmp_path / "c" / "mine.pt")
    keys = [source_key_of(recognise(path)) for path in (first, second, other)]
    assert keys[0] == keys[1] != keys[2]


# --- channels ---


@pytest.mark.parametrize("name", ["DynUNet", "UNETR", "UNet"])
def test_one_input_sees_the_mean_of_several_channels(tmp_path, name):
    model = opened(write_weights(small_network(name), tmp_path / "mine.pt"))
    shown = adapted(model, channels=3, flat=False)
    image = torch.randn(2, 3, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, mean = shown.network()(image), model.network()(image.mean(1, keepdim=True))
    torch.testing.assert_close(ours, mean, **NEAR)
    assert shown.notes[-1] == "its one input sees the mean of the target's 3 channels"


@pytest.mark.parametrize("name", ["DynUNet", "UNETR"])
def test_each_of_several_inputs_sees_the_one_channel(tmp_path, name):
    model = opened(write_weights(small_network(name, channels=2), tmp_path / "mine.pt"))
    shown = adapted(model, channels=1, flat=False)
    image = torch.randn(2, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, repeated = shown.network()(image), model.network()(image.expand(-1, 2, -1, -1, -1))
    torch.testing.assert_close(ours, repeated, **NEAR)
    assert adapted(model, channels=2, flat=False) is model


def test_what_cannot_be_paired_is_a_skip(tmp_path):
    model = opened(write_weights(small_network("DynUNet", channels=2), tmp_path / "mine.pt"))
    with pytest.raises(SkipPair, match="mine takes 2 channels, the target has 3, and neither is 1"):
        adapted(model, channels=3, flat=False)
    with pytest.raises(SkipPair, match="mine is a 3D network, but the target's images are 2D"):
        adapted(model, channels=2, flat=True)
    perceptron = replace(model, channels=1, weights=model.weights | {"input_block.conv1.conv.weight": torch.ones(4, 9)})
    with pytest.raises(SkipPair, match="mine mixes its input channels in input_block"):
        adapted(perceptron, channels=3, flat=False)
