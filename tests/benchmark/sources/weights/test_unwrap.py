"""The state dict in a file: wrappers, prefixes of torch's own modules, EMA weights next to the plain ones, shards."""

import json
import re
from collections import OrderedDict
from copy import deepcopy
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from benchmark.errors import InputError
from benchmark.sources.opening import open_source
from benchmark.sources.readers.recognise import recognise, recognise_pool
from benchmark.sources.readers.state_dict import StateDictSource
from benchmark.sources.weights.safe_load import read_state
from benchmark.sources.weights.unwrap import unwrap
from tests.checkpoints import small_network

FILE = Path("mine.ckpt")
NETWORK = nn.Sequential(OrderedDict(conv=nn.Conv3d(1, 4, 3), norm=nn.BatchNorm3d(4), head=nn.Conv3d(4, 2, 1)))
PLAIN = {name: torch.ones_like(value) for name, value in NETWORK.state_dict().items()}
EMA = {name: 2 * value for name, value in PLAIN.items()}
PARAMETERS = {name: value for name, value in EMA.items() if name in dict(NETWORK.named_parameters())}


def named(weights, prefix):
    return {f"{prefix}{name}": value for name, value in weights.items()}


def without_dots(weights):
    return {name.replace(".", ""): value for name, value in weights.items()}


def averaged():
    model = AveragedModel(NETWORK)
    return {name: value if name == "n_averaged" else EMA[name[7:]] for name, value in model.state_dict().items()}


class Ema(nn.Module):
    def __init__(self):
        super().__init__()
        self.module = deepcopy(NETWORK)
        self.module.load_state_dict(EMA)


PAIRS = {
    "timm": ({"state_dict": PLAIN, "state_dict_ema": EMA}, "state_dict_ema"),
    "a key next to model": ({"model": PLAIN, "model_ema": EMA}, "model_ema"),
    "ema": ({"model": PLAIN, "ema": EMA, "epoch": 3}, "ema"),
    "ema_state_dict": ({"state_dict": PLAIN, "ema_state_dict": EMA}, "ema_state_dict"),
    "under a key of its own": ({"model": PLAIN, "ema": {"module": EMA, "updates": 7}}, "ema"),
    "torch's AveragedModel": ({"model": PLAIN, "ema": averaged()}, "ema"),
    "parallel": ({"model": named(PLAIN, "module."), "model_ema": named(EMA, "module.")}, "model_ema"),
    "a prefix": ({"state_dict": named(PLAIN, "model.") | named(EMA, "ema_model.")}, "ema_model."),
    "a prefix without dots": (
        {"state_dict": named(PLAIN, "model.") | named(without_dots(PARAMETERS), "model_ema.")
         | {"model_ema.decay": torch.tensor(0.9), "model_ema.num_updates": torch.tensor(3)}}, "model_ema."),
    "ema_pytorch": (
        named(PLAIN, "online_model.") | named(EMA, "ema_model.") | {"initted": torch.tensor(True)}, "ema_model."),
    "Lightning's WeightAveraging": (
        {"state_dict": EMA, "current_model_state": PLAIN, "averaging_state": {"n_averaged": torch.tensor(3)}},
        "state_dict"),
    "a callback": (
        {"state_dict": named(PLAIN, "net."), "callbacks": {"EMA": {"ema_state_dict": named(EMA, "net.")}}},
        "callbacks.EMA.ema_state_dict"),
    "parameters only": ({"model": PLAIN, "ema": PARAMETERS}, "ema"),
}  # fmt: skip


def values(weights):
    """Value of each tensor under its name in the network, without the counter, which is not averaged."""
    ends = {name: value for name, value in weights.items() if name.split(".")[-2:] != ["norm", "num_batches_tracked"]}
    return {".".join(name.split(".")[-2:]): float(value.float().mean()) for name, value in ends.items()}


@pytest.mark.parametrize("case", PAIRS)
def test_plain_weights_are_taken_and_ema_weights_on_request(case):
    content, where = PAIRS[case]
    plain = unwrap(content, FILE)
    assert set(values(plain.weights).values()) == {1.0}
    assert len(plain.weights) >= len(PLAIN)
    assert f"the EMA weights under {where!r} are not used; the setting `ema: true` takes them" in plain.notes
    taken = unwrap(content, FILE, ema=True)
    assert taken.weights.keys() == plain.weights.keys()
    expected = {name: 2.0 if name in PARAMETERS else 1.0 for name in values(PLAIN)}
    has_buffers = "without dots" not in case and case != "parameters only"
    expected |= {name: 2.0 for name in values(PLAIN) if has_buffers}
    assert {name: value for name, value in values(taken.weights).items() if name in expected} == expected
    assert f"the EMA weights under {where!r} are used" in taken.notes
    assert (
        any(note.startswith("not averaged, so taken from the plain weights: ") for note in taken.notes) != has_buffers
    )


def test_a_module_of_averages_is_a_pair(tmp_path):
    torch.save({"model": PLAIN, "model_ema": Ema()}, tmp_path / "mine.pt")
    assert set(values(read_state(tmp_path / "mine.pt").weights).values()) == {1.0}
    assert set(values(read_state(tmp_path / "mine.pt", ema=True).weights).values()) == {2.0}


AVERAGES = [{"ema": EMA, "epoch": 3}, {"ema_state_dict": averaged()}]


@pytest.mark.parametrize(
    ("content", "ema"), [*((content, ema) for content in AVERAGES for ema in (False, True)), (averaged(), False)]
)
def test_weights_that_are_only_averages_are_taken(content, ema):
    state = unwrap(content, FILE, ema=ema)
    assert values(state.weights) == values(EMA)
    said = "EMA weights, under 'ema|an average of 0 states of the network"
    assert any(note.startswith(tuple(said.split("|"))) for note in state.notes)


@pytest.mark.parametrize("other", [{"decay": torch.ones(2)}, {"conv.weight": torch.ones(2)}, {}])
def test_other_things_called_ema_are_not_taken_for_averages(other):
    state = unwrap({"state_dict": PLAIN, "ema": other, "best_ema": 0.5}, FILE)
    assert state.weights.keys() == PLAIN.keys()
    assert not any("EMA" in note for note in state.notes)
    with pytest.raises(InputError, match=r"mine\.ckpt has no EMA weights, which `ema: true` would take"):
        unwrap({"state_dict": PLAIN, "ema": other, "best_ema": 0.5}, FILE, ema=True)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_parallel_and_compiled_modules_are_taken_off(prefix):
    state = unwrap({"state_dict": named(PLAIN, prefix)}, FILE)
    assert state.weights.keys() == PLAIN.keys()


def test_a_compiled_module_within_another_is_taken_off():
    weights = named(PLAIN, "model._orig_mod.") | {"loss.weight": torch.ones(3)}
    state = unwrap({"state_dict": weights}, FILE)
    assert state.weights.keys() == {*named(PLAIN, "model."), "loss.weight"}
    assert "'_orig_mod.' is taken off the names" in state.notes


# --- sources ---


def opened(path, store, folder, **settings):
    return open_source(OmegaConf.create(recognise(path) | settings), store, folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("prefix", ["model._orig_mod.", "model.module._orig_mod."])
def test_a_lightning_file_with_settings_opens_in_half_precision(place, tmp_path, dtype, prefix):
    weights = {name: value.to(dtype) for name, value in small_network("DynUNet").state_dict().items()}
    content = {"state_dict": named(weights, prefix), "hyper_parameters": OmegaConf.create({"width": 4})}
    torch.save(content, tmp_path / "mine.ckpt")
    model = opened(tmp_path / "mine.ckpt", place.store(), tmp_path)
    assert {name: value.float().sum() for name, value in model.weights.items()} == {
        name: value.float().sum() for name, value in weights.items()
    }


def test_the_setting_takes_the_ema_weights_of_a_source(place, tmp_path):
    first, second = (small_network("DynUNet", seed=seed).state_dict() for seed in (0, 1))
    torch.save({"state_dict": first, "state_dict_ema": second}, tmp_path / "mine.pt")
    for ema, expected in ((False, first), (True, second)):
        weights = opened(tmp_path / "mine.pt", place.store(), tmp_path, ema=ema).weights
        assert all(torch.equal(weights[name], value) for name, value in expected.items())


def write_shards(folder, weights, suffix=".safetensors"):
    """Two shards and their index, as Hugging Face's `save_pretrained` names them."""
    stem = "model" if suffix == ".safetensors" else "pytorch_model"
    folder.mkdir(exist_ok=True)
    names = sorted(weights)
    files = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"{stem}-{number:05d}-of-00002{suffix}"
        shard = {name: weights[name].clone() for name in part}
        save_file(shard, folder / file) if suffix == ".safetensors" else torch.save(shard, folder / file)
        files |= dict.fromkeys(part, file)
    index = folder / f"{stem}{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": files}), encoding="utf-8")
    return index


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_shards_are_one_source(place, tmp_path, suffix):
    weights = small_network("DynUNet").state_dict()
    index = write_shards(tmp_path / "unet", weights, suffix)
    shard = min((tmp_path / "unet").glob(f"*-of-*{suffix}"))
    for path in (tmp_path / "unet", index, shard):
        model = opened(path, place.store(), tmp_path)
        assert all(torch.equal(model.weights[name], value) for name, value in weights.items())
    pool = recognise_pool(tmp_path)
    assert [node["path"] for node in pool.nodes.values()] == [str(index)]
    assert not pool.left
    source = StateDictSource("mine", index)
    before = source.digest()
    changed = {name: value + 1 for name, value in weights.items()}
    write_shards(tmp_path / "unet", changed, suffix)
    assert source.digest() != before


def test_shards_and_a_single_file_of_the_same_weights_are_one_source(tmp_path):
    weights = small_network("DynUNet").state_dict()
    write_shards(tmp_path, weights)
    torch.save(weights, tmp_path / "pytorch_model.bin")
    pool = recognise_pool(tmp_path)
    assert len(pool.nodes) == 1
    assert [reason.startswith("the same weights as") for reason in pool.left.values()] == [True]


def test_a_shard_that_is_missing_is_named(place, tmp_path, command_line):
    index = write_shards(tmp_path / "unet", small_network("DynUNet").state_dict())
    min(tmp_path.glob("unet/*-of-*")).unlink()
    done = command_line("inspect", f"path={index}", *place.overrides)
    assert done.code == 2
    line = f"error: {index} lists 2 files, and 1 not in its folder: model-00001-of-00002.safetensors\n"
    assert done.err == line


BAD = {
    "another folder": (lambda files: dict.fromkeys(files, "../a.bin"), r"in its folder, got \.\./a\.bin"),
    "an absolute path": (lambda files: dict.fromkeys(files, "/a/b.bin"), "name weights files in its folder, got /a/b"),
    "a list": (list, "must have a weight_map"),
    "itself": (lambda files: dict.fromkeys(files, "model.safetensors.index.json"), "must name weights files in its"),
    "too many tensors": (lambda files: files | {"extra": next(iter(files.values()))}, "do not have: extra"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_index_is_refused(tmp_path, case):
    change, message = BAD[case]
    index = write_shards(tmp_path, PLAIN)
    content = json.loads(index.read_text())
    index.write_text(json.dumps(content | {"weight_map": change(content["weight_map"])}))
    with pytest.raises(InputError, match=message):
        read_state(index)


def test_a_tensor_is_read_from_the_file_that_the_index_names(tmp_path):
    index = write_shards(tmp_path, PLAIN)
    name, file = next(iter(json.loads(index.read_text())["weight_map"].items()))
    other = next(path for path in sorted(tmp_path.glob("*-of-*"), reverse=True) if path.name != file)
    save_file({**load_file(other), name: PLAIN[name] + 1}, other)
    assert torch.equal(read_state(index).weights[name], PLAIN[name])


def test_a_part_of_the_weights_without_its_index_is_named(tmp_path):
    write_shards(tmp_path, small_network("DynUNet").state_dict()).unlink()
    path = tmp_path / "model-00001-of-00002.safetensors"
    message = f"{path} is part 1 of 2 of the weights; model.safetensors.index.json, which lists them all, is missing"
    with pytest.raises(InputError, match=re.escape(message)):
        StateDictSource("mine", path).open()


def test_fields_that_a_file_sets_on_a_tensor_are_dropped(tmp_path):
    weights = small_network("UNet").state_dict()
    name = next(iter(weights))
    parameter = torch.nn.Parameter(weights[name])
    parameter.numel = parameter.any = torch.Size
    torch.save({**weights, name: parameter}, tmp_path / "unet.pt")
    assert torch.equal(StateDictSource("mine", tmp_path / "unet.pt").open().weights[name], weights[name])


def test_a_name_that_is_no_unicode_text_can_be_printed(tmp_path):
    torch.save({"a.weight": torch.ones(2, 2), "a\ud800": torch.ones(2)}, tmp_path / "mine.pt")
    assert list(read_state(tmp_path / "mine.pt").weights) == ["a.weight", r"a\ud800"]


def test_constants_of_a_program_show_torchscript(tmp_path):
    with ZipFile(tmp_path / "mine.pt", "w") as archive:
        archive.writestr("mine/data.pkl", b"\x80\x02}.")
        archive.writestr("mine/constants.pkl", b"\x80\x02}.")
    with pytest.raises(InputError, match="a TorchScript program, which would run code and is not read"):
        read_state(tmp_path / "mine.pt")
