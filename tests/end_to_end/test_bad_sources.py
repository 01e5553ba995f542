"""Bad checkpoints, one table: exit code 2 and one clear line; pickles and configs that would run code do not run it."""

import json
import os
import pickle
import re
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from omegaconf import OmegaConf

from benchmark.sources.opening import open_source
from benchmark.sources.readers.recognise import recognise
from benchmark.sources.weights.unwrap import unwrap
from tests.checkpoints import SMALL, small_network, write_bundle, write_file, write_nnunet, write_weights

pytestmark = pytest.mark.bad_input


SAVE_AGAIN = (
    r"if you trust it, load it with your own code and save only its weights: "
    r"torch\.save\(model\.state_dict\(\), 'weights\.pth'\)"
)


class Evil:
    """A pickle that makes a folder, if it is ever run."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


@dataclass(frozen=True)
class Bad:
    """What is made in a folder, what of it is named, and what the one line must say.

    `make(folder)` returns the path to inspect, or the overrides of the command.
    """

    make: object
    line: str


def state(folder, change=lambda weights: weights, name="mine.pt"):
    path = folder / name
    torch.save(change(small_network("DynUNet").state_dict()), path)
    return path


def edited(path, change):
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(change(content) or content), encoding="utf-8")


def nnunet(folder, change=None, name="plans.json"):
    place = write_nnunet(folder / "Dataset501_Made")
    if change:
        edited(place / name, change)
    return place


def configuration(content):
    return content["configurations"]["3d_fullres"]


def bundle(folder, change=None):
    place = write_bundle(folder / "bundle")
    if change:
        edited(place / "configs" / "train.json", change)
    return place


def own(folder, change=None):
    place = write_file(folder / "mine")
    if change:
        edited(place / "source.json", change)
    return place


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def without(folder, name):
    place = nnunet(folder)
    (place / name).unlink()
    for path in place.glob("fold_0/*.pth"):  # which contains a copy of the plans
        torch.save(torch.load(path, weights_only=False) | {"init_args": {}}, path)
    return place


def nan_weights(weights):
    weights["bottleneck.conv1.conv.weight"][0] = float("nan")
    return weights


def two_files(folder):
    state(folder)
    state(folder, name="other.pt")
    return folder


def swap_network(content):
    content["architecture"]["network"]["_target_"] = "subprocess.Popen"


def swap_convolution(content):
    configuration(content)["architecture"]["arch_kwargs"]["conv_op"] = "os.system"


def swap_by_import(content):
    configuration(content)["architecture"]["arch_kwargs"]["conv_op"] = "torch.nn.modules.module.OrderedDict"


def written(text, folder):
    path = folder / "mine.pth"
    path.write_text(text, encoding="utf-8")
    return path


def holding_itself(weights):
    content = {"epoch": 3}
    content["state_dict"] = {"model": content}
    return content


MATRIX = "bottleneck.conv1.conv.weight"
KINDS = {
    r"sparse \(sparse_coo\)": torch.Tensor.to_sparse,
    r"quantised \(qint8\)": lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
    "float8_e4m3fn": lambda tensor: tensor.to(torch.float8_e4m3fn),
    "a meta tensor without values": lambda tensor: tensor.to("meta"),
    "int8": lambda tensor: tensor.to(torch.int8),
    "int64": lambda tensor: tensor.to(torch.int64),
    "complex64": lambda tensor: tensor.to(torch.complex64),
}


def recast(change, folder):
    return state(folder, lambda weights: weights | {MATRIX: change(weights[MATRIX])})


def other_arch(folder):
    return ["source=state_dict", f"source.path={state(folder)}", "arch@source.arch=segresnet"]


def unknown_layer(folder):
    return ["source=state_dict", f"source.path={state(folder)}", "arch@source.arch=dynunet",
            *(f"source.arch.network.{name}={value}" for name, value in SMALL["DynUNet"].items()),
            "source.arch.taps=[upsamples.9]"]  # fmt: skip


def wrong_fold(folder):
    return ["source=nnunet", f"source.path={nnunet(folder)}", "source.fold=4"]


def few_labels(folder):
    return ["source=state_dict", f"source.path={state(folder)}", "source.labels={0: background}"]


TABLE = {
    "nothing there": Bad(lambda f: f / "none.pt", r"source \S+none\.pt not found: it is neither a file nor a folder"),
    "an empty folder": Bad(lambda f: f, r"source \S+ holds no checkpoint: no weights file \(.+\), .+"),
    "two checkpoints": Bad(two_files, r"source \S+ holds 2 checkpoints: mine\.pt, other\.pt; name one of them"),
    "an unknown kind of file": Bad(
        lambda f: shutil.copy(state(f), f / "mine.data"),
        r"source \S+ is not a weights file: its suffix must be one of .+, got \.data"
    ),
    "a model of another framework": Bad(
        lambda f: shutil.copy(state(f), f / "mine.onnx"),
        r"source \S+ is a model of ONNX, and only weights of PyTorch are read"
    ),
    "a cut .pt": Bad(
        lambda f: cut(state(f)), r"cannot read \S+mine\.pt: not a file that torch\.save wrote, or cut short: .+"
    ),
    "a cut .safetensors": Bad(
        lambda f: cut(write_weights(small_network("DynUNet"), f / "mine.safetensors")),
        r"\S+mine\.safetensors must be a safetensors file, got: .+",
    ),
    "an empty .pt": Bad(
        lambda f: [(f / "mine.pt").touch(), f / "mine.pt"][1],
        r"cannot read \S+mine\.pt: not a file that torch\.save wrote, it is empty",
    ),
    **{f"a text file ({text[:4]})": Bad(
        partial(written, text), r"cannot read \S+mine\.pth: not a file that torch\.save wrote"
    ) for text in ("a,b\n1,2\n", '{"a": 1}', "hello world", "version https://git-lfs.github.com/spec/v1\n")},
    "a dict that holds itself": Bad(
        lambda f: state(f, holding_itself), r"\S+mine\.pt must hold a state dict, got a dict that holds itself under .+"
    ),
    **{f"a tensor that is {kind}": Bad(
        partial(recast, change), rf"\S+mine\.pt: weights must be dense .+, got {re.escape(MATRIX)}, which is {kind}"
    ) for kind, change in KINDS.items()},
    "an integer tensor beside": Bad(
        lambda f: state(f, lambda weights: weights | {"pos": torch.ones(2, 2, dtype=torch.int8)}),
        r"\S+mine\.pt: weights must be dense .+, got pos, which is int8",
    ),
    "no state dict": Bad(
        lambda f: state(f, lambda weights: {"epoch": 3, "best": 0.5}),
        r"\S+mine\.pt must hold a state dict, got the keys epoch, best",
    ),
    "a list": Bad(lambda f: state(f, lambda weights: [1, 2]), r"\S+mine\.pt must hold a state dict, got list"),
    "an unknown network": Bad(
        lambda f: state(f, lambda weights: {"blob.weight": torch.ones(3, 3)}),
        r"source mine: no network is known that has tensors such as blob\.weight; known are DynUNet, .+",
    ),
    "the wrong architecture": Bad(
        other_arch, r"source mine: weights do not match the network: missing convInit\.conv\.weight, .+"
    ),
    "half the tensors": Bad(
        lambda f: state(f, lambda weights: {n: t for n, t in weights.items() if ".conv2." not in n}),
        r"source mine: weights do not match the network: missing input_block\.conv2\.conv\.weight, .+",
    ),
    "all zeros": Bad(
        lambda f: state(f, lambda weights: {name: torch.zeros_like(tensor) for name, tensor in weights.items()}),
        r"source mine: the weights must not be all zero, got \d+ tensors of zeros",
    ),
    "NaN weights": Bad(
        lambda f: state(f, nan_weights),
        r"source mine: the weights must be finite, got NaN or inf in bottleneck\.conv1\.conv\.weight",
    ),
    "an unknown layer": Bad(unknown_layer, r"arch dynunet: .+ must name modules, got upsamples\.9"),
    "too few labels": Bad(few_labels, r"source mine: labels must name the head's 3 channels, got 1"),
    "a corrupt sidecar": Bad(
        lambda f: own(f, lambda content: content | {"sha256": "0" * 64}),
        r"SHA-256 of \S+weights\.safetensors is [0-9a-f]{64}, but its sidecar states 0{64}",
    ),
    "a sidecar without a key": Bad(
        lambda f: own(f, lambda content: content.pop("architecture") and content),
        r"\S+source\.json does not describe the network: KeyError\('architecture'\)",
    ),
    "a sidecar that names code": Bad(
        lambda f: own(f, swap_network),
        r"\S+source\.json: architecture\.network must name a network class of .+, got subprocess\.Popen; .+",
    ),
    "a missing fold": Bad(wrong_fold, r"source Dataset501_Made__3d_fullres: `fold` must be one of 0, got 4"),
    "no fold at all": Bad(
        lambda f: [shutil.rmtree(nnunet(f) / "fold_0"), next(f.glob("*/*"))][1],
        r"no fold_X folder in \S+: it is not a results folder of nnU-Net",
    ),
    "no checkpoint": Bad(
        lambda f: without(f, "fold_0/checkpoint_final.pth"),
        r"no checkpoint_final\.pth or checkpoint_best\.pth or checkpoint_latest\.pth in fold_0 of \S+",
    ),
    "no plans": Bad(lambda f: without(f, "plans.json"), r"\S+plans\.json not found, and \S+ has no copy in .+"),
    "no dataset.json": Bad(lambda f: without(f, "dataset.json"), r"\S+dataset\.json not found, and \S+ has no .+"),
    "plans that are no JSON": Bad(
        lambda f: [(nnunet(f) / "plans.json").write_bytes(b"{\xe9"), next(f.glob("*/*"))][1],
        r"cannot read \S+plans\.json as UTF-8 JSON: .+",
    ),
    "plans without the configuration": Bad(
        lambda f: nnunet(f, lambda content: content | {"configurations": {}}),
        r"\S+plans\.json has no complete configuration 3d_fullres: .+",
    ),
    "plans without a key": Bad(
        lambda f: nnunet(f, lambda content: configuration(content)["architecture"].pop("arch_kwargs") and content),
        r"\S+plans\.json has no complete configuration 3d_fullres: .*arch_kwargs.*",
    ),
    "plans that name a function": Bad(
        lambda f: nnunet(f, swap_convolution), r"\S+plans\.json: 3d_fullres\.conv_op must name .+, got os\.system; .+"
    ),
    "plans that name what torch imports": Bad(
        lambda f: nnunet(f, swap_by_import),
        r"\S+plans\.json: 3d_fullres\.conv_op must name .+OrderedDict, which is not a torch module",
    ),
    "plans of another network": Bad(
        lambda f: nnunet(f, lambda content: configuration(content)["architecture"]["arch_kwargs"].update(
            features_per_stage=[4, 8, 8])),
        r"source \S+: weights do not match the network: shape mismatch for .+",
    ),
    "a bundle without a network": Bad(
        lambda f: bundle(f, lambda content: content.pop("network_def") and content),
        r"no network_def or network or net with a _target_ in \S+train\.json; .+",
    ),
    "a bundle that names code": Bad(
        lambda f: bundle(f, lambda content: content["network_def"].update(_target_="subprocess.Popen")),
        r"\S+train\.json: the network must name a network class of .+, got subprocess\.Popen; .+",
    ),
    "a bundle without weights": Bad(
        lambda f: [(bundle(f) / "models" / "model.pt").unlink(), f / "bundle"][1],
        r"\S+bundle is a MONAI bundle without a weights file in models",
    ),
    "no such function": Bad(
        lambda f: "no_such_package.nets:make",
        r"source make: factory must be package\.module:function, got no_such_package\.nets:make: .+",
    ),
    "a function that takes no channels": Bad(
        lambda f: "pathlib:Path", r"source Path: pathlib:Path must take in_channels, .+"
    ),
}  # fmt: skip


def inspected(command_line, place, made):
    overrides = made if isinstance(made, list) else [f"path={made}"]
    return command_line("inspect", *overrides, *place.overrides)


@pytest.mark.parametrize("case", TABLE)
def test_a_bad_source(place, tmp_path, command_line, case):
    folder = tmp_path / "given"
    folder.mkdir()
    done = inspected(command_line, place, TABLE[case].make(folder))
    assert done.code == 2, done.err + done.out
    assert re.fullmatch(rf"error: {TABLE[case].line}\n", done.err), done.err
    assert "Traceback" not in done.out


# --- pickles ---


def evil_state(folder, place):
    path = folder / "mine.pt"
    torch.save(small_network("DynUNet").state_dict() | {"extra": Evil(place)}, path)
    return path


def evil_plain(folder, place, protocol):
    path = folder / "mine.pth"
    path.write_bytes(pickle.dumps({"state_dict": Evil(place)}, protocol=protocol))
    return path


def evil_nnunet(folder, place):
    made = write_nnunet(folder / "Dataset501_Made")
    file = made / "fold_0" / "checkpoint_final.pth"
    content = torch.load(file, weights_only=False)
    torch.save(content | {"logging": Evil(place)}, file)
    return made


def evil_bundle(folder, place):
    made = write_bundle(folder / "bundle")
    torch.save({"state_dict": small_network("UNet").state_dict(), "extra": Evil(place)}, made / "models" / "model.pt")
    return made


def evil_factory(folder, place):
    return [
        "source=factory",
        "source.factory=monai.networks.nets:DynUNet",
        f"source.path={evil_state(folder, place)}",
        "+source.settings.spatial_dims=3",
        *(f"+source.settings.{name}={value}" for name, value in SMALL["DynUNet"].items()),
    ]


@pytest.mark.parametrize("write", [evil_state, evil_nnunet, evil_bundle, evil_factory])
def test_weights_next_to_a_pickle_that_would_run_code_are_read_and_it_does_not_run(
    place, tmp_path, command_line, write
):
    folder = tmp_path / "given"
    folder.mkdir()
    done = inspected(command_line, place, write(folder, tmp_path / "run"))
    assert done.code == 0, done.err
    out = " ".join(done.out.split())
    assert re.search(r"left out of \S+: objects of posix\.mkdir; nothing of them was run", out), out
    assert not (tmp_path / "run").exists()
    path = folder / "mine.pt"
    if write is evil_state:  # the pickle does run for whoever trusts it
        torch.load(path, weights_only=False)
        assert (tmp_path / "run").exists()


@pytest.mark.parametrize("protocol", [2, 5])
def test_a_pickle_of_another_writer_is_refused_and_does_not_run(place, tmp_path, command_line, protocol):
    path = evil_plain(tmp_path, tmp_path / "run", protocol)
    done = inspected(command_line, place, path)
    assert done.code == 2
    line = rf"error: cannot read \S+: not a file that torch\.save wrote, but another pickle; {SAVE_AGAIN}\n"
    assert re.fullmatch(line, done.err), done.err
    assert not (tmp_path / "run").exists()
    pickle.loads(path.read_bytes())  # it does run for whoever trusts it
    assert (tmp_path / "run").exists()


def test_weights_that_only_code_would_make_are_refused(place, tmp_path, command_line):
    torch.save({"state_dict": Evil(tmp_path / "run"), "epoch": 3}, tmp_path / "mine.pt")
    done = inspected(command_line, place, tmp_path / "mine.pt")
    assert done.code == 2
    line = (
        r"error: \S+ must hold a state dict, got the keys state_dict, epoch with objects of posix\.mkdir, which are "
        rf"not created, since that would run code; {SAVE_AGAIN}\n"
    )
    assert re.fullmatch(line, done.err), done.err
    assert not (tmp_path / "run").exists()


def test_a_pickle_in_an_mlflow_artifact_does_not_run(place, tmp_path, command_line):
    client = MlflowClient(place.uri)
    run = client.create_run(client.create_experiment("mine", artifact_location=tmp_path.as_uri())).info.run_id
    client.log_artifact(run, str(evil_state(tmp_path, tmp_path / "run")), "model")
    done = command_line("inspect", "source=mlflow", f"source.path=runs:/{run}/model", *place.overrides)
    assert done.code == 0, done.err
    assert "left out of mine.pt: objects of posix.mkdir" in " ".join(done.out.split())
    assert not (tmp_path / "run").exists()


# --- bundles ---


def expression(place):
    def change(content):
        content["network_def"]["strides"] = f"$[__import__('os').mkdir({str(place)!r}), [2, 2]][1]"

    return change


def test_a_bundles_expression_is_evaluated_for_those_alone_who_trust_it(place, tmp_path, command_line):
    folder = bundle(tmp_path, expression(tmp_path / "run"))
    done = inspected(command_line, place, folder)
    assert done.code == 2
    assert re.fullmatch(r"error: \S+ the network\.strides must be a plain value, got \$\[.+; trust=true .+\n", done.err)
    assert not (tmp_path / "run").exists()
    node = OmegaConf.create(recognise(folder, trust=True))
    assert open_source(node, place.store(), tmp_path).arch.name == "unet"
    assert (tmp_path / "run").exists()


def test_what_nnunet_and_lightning_write_beside_weights_passes(tmp_path, place):
    """numpy numbers, devices and plain settings are no code."""
    from argparse import Namespace

    import numpy as np

    content = {
        "state_dict": small_network("DynUNet").state_dict(),
        "hyper_parameters": Namespace(lr=0.1),
        "best": np.float32(0.5),
        "history": [np.float64(0.1), np.int64(3)],
        "device": torch.device("cpu"),
    }
    torch.save(content, tmp_path / "mine.ckpt")
    assert open_source(OmegaConf.create(recognise(tmp_path / "mine.ckpt")), place.store(), tmp_path).classes == 3
    write_nnunet(tmp_path / "Dataset501_Made")
    node = OmegaConf.create(recognise(tmp_path / "Dataset501_Made"))
    assert open_source(node, place.store(), tmp_path).classes == 3


# --- what a file may hold beside its weights ---


@pytest.mark.parametrize(
    "beside", [{"class_weights": torch.ones(3)}, {"ema": {"decay": torch.ones(2)}, "step": torch.ones(1)}]
)
def test_tensors_beside_a_wrapped_state_dict_are_no_part_of_it(tmp_path, place, beside):
    path = state(tmp_path, lambda weights: {"state_dict": {"model": weights}} | beside)
    model = open_source(OmegaConf.create(recognise(path)), place.store(), tmp_path)
    assert set(model.weights) == set(small_network("DynUNet").state_dict())
    assert model.notes[0].startswith("the weights are under 'state_dict'")


def test_integer_buffers_are_no_fault(tmp_path):
    weights = {"a.weight": torch.ones(2, 2), "n.num_batches_tracked": torch.tensor(3), "mask": torch.ones(2, 2) > 0,
               "attn.relative_position_index": torch.zeros(4, 4, dtype=torch.int64)}  # fmt: skip
    assert unwrap(weights, tmp_path).weights.keys() == weights.keys()
    assert unwrap({"a.weight": torch.ones(2, 2, dtype=torch.bfloat16)}, tmp_path).weights


def test_a_factory_that_calls_exit_is_told_in_one_line(place, command_line):
    done = command_line("inspect", "path=tests.end_to_end.failing_networks:ExitsWhenMade", *place.overrides)
    assert done.code == 2
    assert done.err.splitlines()[-1] == "error: source ExitsWhenMade: its code called sys.exit('usage: make')"
