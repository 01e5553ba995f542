"""No way through a pickle to a call of code: each opcode that calls, in both formats of torch.save."""

import argparse
import copyreg
import datetime
import io
import os
import pathlib
import pickle
import struct
import zipfile
from collections import OrderedDict, UserDict, defaultdict
from contextlib import suppress

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from omegaconf import OmegaConf
from torch.serialization import MAGIC_NUMBER, PROTOCOL_VERSION

from benchmark.errors import InputError
from benchmark.sources.weights import restricted_pickle, safe_load
from benchmark.sources.weights.inert import Inert
from benchmark.sources.weights.safe_load import read_file, read_state
from tests.checkpoints import small_network

HERE = __name__
WEIGHTS = {"conv.weight": torch.arange(4.0).reshape(2, 2), "conv.bias": torch.ones(2)}


class RunsWhenMade:
    def __new__(cls, path):
        os.mkdir(path)  # noqa: PTH102 - the shortest call that leaves a trace
        return super().__new__(cls)


class RunsWhenUsed:
    def __setstate__(self, path):
        os.mkdir(path)  # noqa: PTH102

    def append(self, path):
        os.mkdir(path)  # noqa: PTH102

    def __setitem__(self, path, _):
        os.mkdir(path)  # noqa: PTH102


class RunsWhenHashed:
    def __hash__(self):
        os.mkdir(self.path)  # noqa: PTH102
        return 0


def text(value):
    return b"V" + str(value).encode() + b"\n"


def named(module, name):
    return f"c{module}\n{name}\n".encode()


def called(function, *args):
    return function + b"(" + b"".join(args) + b"tR"


MKDIR = named("posix", "mkdir")
USED = named(HERE, "RunsWhenUsed") + b")\x81"
PROGRAMS = {
    "reduce": lambda path: called(MKDIR, text(path)),
    "reduce of eval": lambda path: called(
        named("builtins", "eval"), text(f"__import__('os').mkdir({str(path)!r})")
    ),
    "reduce by Python 2's name": lambda path: called(
        named("__builtin__", "eval"), text(f"__import__('os').mkdir({str(path)!r})")
    ),
    "a global of the stack": lambda path: called(b"\x8c\x02os\x8c\x05mkdir\x93", text(path)),
    "inst": lambda path: b"(" + text(path) + b"iposix\nmkdir\n",
    "obj": lambda path: b"(" + MKDIR + text(path) + b"o",
    "newobj": lambda path: named(HERE, "RunsWhenMade") + text(path) + b"\x85\x81",
    "newobj_ex": lambda path: named(HERE, "RunsWhenMade") + text(path) + b"\x85}\x92",
    "a class that copyreg creates": lambda path: called(
        named("copyreg", "__newobj__"), named(HERE, "RunsWhenMade"), text(path)
    ),
    "build": lambda path: USED + text(path) + b"b",
    "append": lambda path: USED + text(path) + b"a",
    "set item": lambda path: USED + text(path) + b"Ns",
    "hash": lambda path: b"}" + named(HERE, "RunsWhenHashed") + b")\x81}" + text("path") + text(path) + b"sbNs",
    "partial": lambda path: called(called(named("functools", "partial"), MKDIR, text(path))),
    "getattr": lambda path: called(
        called(named("builtins", "getattr"), called(named("importlib", "import_module"), text("os")), text("mkdir")),
        text(path),
    ),
    "map": lambda path: called(
        named("builtins", "list"), called(named("builtins", "map"), MKDIR, b"(" + text(path) + b"t")
    ),
    "a pickle in a pickle": lambda path: called(
        named("pickle", "loads"), called(named("_codecs", "encode"), text(called(MKDIR, text(path)).decode().replace(
            "\n", "\\u000a") + "."), text("latin1"))
    ),
    "a storage in bytes": lambda path: called(
        named("torch.storage", "_load_from_bytes"), b"B" + struct.pack("<I", len(evil_file(path))) + evil_file(path)
    ),
    "a tensor's type": lambda path: called(
        named("torch._tensor", "_rebuild_from_type_v2"), MKDIR, named("torch", "Tensor"), b"(" + text(path) + b"t", b"N"
    ),
    "an extension's number": lambda path: called(b"\x82\xf0", text(path)),
}  # fmt: skip


def evil_file(path):
    buffer = io.BytesIO()
    torch.save({}, buffer)
    return with_pickle(buffer.getvalue(), called(MKDIR, text(path)) + b".")


def with_pickle(saved, program):
    """A zip file of torch.save with another pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved)) as old, zipfile.ZipFile(buffer, "w") as new:
        for part in old.infolist():
            new.writestr(part.filename, program if part.filename.endswith("data.pkl") else old.read(part))
    return buffer.getvalue()


def in_zip(program):
    buffer = io.BytesIO()
    torch.save({}, buffer)
    return with_pickle(buffer.getvalue(), program)


def in_legacy(program):
    head = (MAGIC_NUMBER, PROTOCOL_VERSION, {"little_endian": True})
    return b"".join(pickle.dumps(part, protocol=2) for part in head) + program + pickle.dumps([], protocol=2)


@pytest.fixture
def _extension():
    copyreg.add_extension("posix", "mkdir", 240)
    copyreg._extension_cache[240] = os.mkdir
    yield
    copyreg.remove_extension("posix", "mkdir", 240)


@pytest.mark.usefixtures("_extension")
@pytest.mark.parametrize("write", [in_zip, in_legacy])
@pytest.mark.parametrize("way", PROGRAMS)
def test_no_opcode_runs_code(tmp_path, way, write):
    marker = tmp_path / "run"
    program = b"\x80\x02" + PROGRAMS[way](marker) + b"."
    (tmp_path / "evil.pt").write_bytes(write(program))
    with pytest.raises(InputError):
        read_state(tmp_path / "evil.pt")
    assert not marker.exists()
    with suppress(Exception):  # after it ran, most results are of no use
        torch.load(tmp_path / "evil.pt", weights_only=False)  # it does run for whoever trusts it
    assert marker.exists()


@pytest.mark.parametrize("target", ["argparse Namespace", "torch._utils _rebuild_tensor_v2", "pathlib PosixPath"])
def test_classes_and_functions_cannot_be_changed(tmp_path, target):
    module, name = target.split()
    program = named(module, name) + b"N}" + text("__doc__") + text("changed") + b"s\x86b."
    (tmp_path / "evil.pt").write_bytes(in_zip(b"\x80\x02" + program))
    with pytest.raises(InputError, match=r"cannot read .+ without running code of its pickle: it sets the state of"):
        read_state(tmp_path / "evil.pt")
    for cls in (argparse.Namespace, torch._utils._rebuild_tensor_v2, pathlib.PurePosixPath):
        assert cls.__doc__ != "changed"


@pytest.mark.parametrize("identity", [b"Pfile\n", text("storage") + b"\x85Q", text("other") + b"N\x86Q", b"NQ"])
def test_objects_outside_the_file_are_refused(tmp_path, identity):
    for write in (in_zip, in_legacy):
        (tmp_path / "evil.pt").write_bytes(write(b"\x80\x02" + identity + b"."))
        with pytest.raises(InputError, match=r"cannot read .+ without running code of its pickle: it names an object"):
            read_state(tmp_path / "evil.pt")


def test_the_source_code_of_a_module_in_an_old_file_is_not_looked_up(tmp_path, monkeypatch):
    """torch would compare it, and write a patch file where a class has `dump_patches`."""
    torch.save(small_network("DynUNet"), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    monkeypatch.setattr(torch.serialization, "get_source_lines_and_file", lambda *_: pytest.fail("looked up"))
    assert read_state(tmp_path / "old.pt").weights.keys() == small_network("DynUNet").state_dict().keys()


# --- numpy, whose data types can describe foreign memory ---


def dtype(name, state):
    return called(named("numpy", "dtype"), text(name), b"\x89\x88") + state + b"b"


RECORD = b"(K\x03" + text("|") + b"N(" + text("a") + b"t}" + text("a") + b"(" + called(
    named("numpy", "dtype"), text("O8")) + b"K\x00ts" + b"K\x08K\x08K\x00t"  # fmt: skip
SCALAR = named("numpy._core.multiarray", "scalar")
BYTES = b"C\x08AAAAAAAA"


def test_numpy_values_of_foreign_memory_are_not_made(tmp_path):
    assert pickle.loads(dtype("V8", RECORD) + b".").fields["a"][0].hasobject  # numpy would make the type
    values = called(SCALAR, dtype("V8", RECORD), BYTES)
    array = called(named("numpy._core.multiarray", "_reconstruct"), named("numpy", "ndarray"), b"K\x00\x85", BYTES)
    array += b"(K\x01K\x01\x85" + dtype("V8", RECORD) + b"\x89" + BYTES + b"tb"
    values += called(SCALAR, called(named("numpy", "dtype"), text("O8")), BYTES)
    program = b"\x80\x02](" + values + array + b"e."
    (tmp_path / "evil.pt").write_bytes(in_zip(program))
    number, plain_object, records = read_file(tmp_path / "evil.pt").content
    assert isinstance(number, Inert)
    assert isinstance(plain_object, Inert)
    assert records.shape == (0,)


def test_an_array_of_another_size_than_its_bytes_is_refused(tmp_path):
    array = called(named("numpy._core.multiarray", "_reconstruct"), named("numpy", "ndarray"), b"K\x00\x85", BYTES)
    array += b"(K\x01J\xff\xff\xff\x7f\x85" + called(named("numpy", "dtype"), text("f8")) + b"\x89" + BYTES + b"tb."
    (tmp_path / "evil.pt").write_bytes(in_zip(b"\x80\x02" + array))
    with pytest.raises(InputError, match=r"an array of shape \(2147483647,\) has 1 values"):
        read_file(tmp_path / "evil.pt")


# --- memory ---


def test_a_tensor_far_larger_than_its_file_is_refused(tmp_path):
    torch.save({"conv.weight": torch.ones(1).expand(2**20, 2**20)}, tmp_path / "bomb.pt")
    with pytest.raises(InputError, match=r"conv\.weight has the shape .+, which is far larger than the file"):
        read_state(tmp_path / "bomb.pt")


def test_an_archive_far_larger_than_its_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(safe_load, "GIGABYTE", 2**20)
    archive = zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED)
    with archive:
        archive.writestr("bomb/data.pkl", bytes(2**21))
    with pytest.raises(InputError, match="its content is compressed and far larger than the file"):
        read_file(tmp_path / "bomb.pt")


# --- what is read ---


class Settings(UserDict):
    """A class of the owner's own."""


class Fields:
    def __init__(self, **fields):
        self.__dict__.update(fields)


class Slots:
    __slots__ = ("a",)


class Dictionary(dict):
    pass


@pytest.mark.parametrize("legacy", [False, True])
def test_plain_values_are_read_and_other_objects_left_out(tmp_path, legacy):
    network = torch.nn.Conv3d(1, 2, 3)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    slots = Slots()
    slots.a = 1
    plain = {
        "array": np.arange(6.0).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "big-endian": np.arange(3, dtype=">i4"),
        "objects": np.array([{1: 2}, None], dtype=object),
        "number": np.float32(0.5),
        "date": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        "sets": [{1, 2}, frozenset({3}), slice(1, 2), 1 + 2j, bytearray(b"ab"), b"cd"],
        "ordered": OrderedDict(a=1),
        "namespace": argparse.Namespace(lr=0.1),
        "size": torch.Size([1, 2]),
    }
    content = {
        "state_dict": WEIGHTS,
        **plain,
        "default": defaultdict(list, {"a": [1]}),
        "path": pathlib.Path("a", "b"),
        "hyper_parameters": OmegaConf.create({"network": {"width": [1, 2]}}),
        "scheduler": torch.optim.lr_scheduler.StepLR(optimiser, 3),
        "loss": torch.nn.CrossEntropyLoss(weight=torch.ones(3)),
        "own": [Settings(a=1), slots, Dictionary(a=1)],
        "function": torch.nn.functional.relu,
    }
    torch.save(content, tmp_path / "mine.ckpt", _use_new_zipfile_serialization=not legacy)
    read = read_file(tmp_path / "mine.ckpt")
    for name, value in plain.items():
        np.testing.assert_equal(read.content[name], value)
    assert read.content["default"] == {"a": [1]}
    assert read.content["path"] == pathlib.PurePosixPath("a/b")
    assert isinstance(read.content["hyper_parameters"], Inert)
    assert read.content["own"][2].entries == {"a": 1}
    assert {"omegaconf.dictconfig.DictConfig", "torch.optim.lr_scheduler.StepLR", f"{HERE}.Slots"} <= {*read.left_out}
    assert [name for name in read.left_out if name.startswith("builtins.")] == []
    state = read_state(tmp_path / "mine.ckpt")
    assert all(torch.equal(state.weights[name], WEIGHTS[name]) for name in WEIGHTS)
    assert state.notes[0].startswith("left out of mine.ckpt: objects of omegaconf.dictconfig.DictConfig, ")
    assert state.notes[0].endswith(" more; nothing of them was run")


class OwnTensor(torch.Tensor):
    pass


@pytest.mark.parametrize("cls", [MetaTensor, OwnTensor])
def test_weights_of_a_tensor_subclass_are_plain(tmp_path, cls):
    weights = {"conv.weight": torch.ones(2, 2).as_subclass(cls), "conv.bias": torch.ones(2)}
    torch.save(weights, tmp_path / "mine.pt")
    weight = read_state(tmp_path / "mine.pt").weights["conv.weight"]
    assert type(weight) is torch.Tensor
    assert torch.equal(weight, torch.ones(2, 2))


MODULES = {
    "a module": lambda module: module,
    "a module under a key": lambda module: {"epoch": 3, "model": module},
    "a parallel module": torch.nn.DataParallel,
    "an object's field": lambda module: Fields(model=module.state_dict(), epoch=3),
    "a dict of another class": lambda module: Dictionary(state_dict=Dictionary(module.state_dict())),
}


@pytest.mark.parametrize("wrap", MODULES)
@pytest.mark.parametrize("legacy", [False, True])
def test_weights_in_objects_are_reached(tmp_path, wrap, legacy):
    module = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3), torch.nn.BatchNorm3d(2))
    module.register_buffer("idle", torch.ones(2), persistent=False)
    torch.save(MODULES[wrap](module), tmp_path / "mine.pt", _use_new_zipfile_serialization=not legacy)
    state = read_state(tmp_path / "mine.pt")
    assert state.weights.keys() == module.state_dict().keys()
    assert all(torch.equal(state.weights[name], value) for name, value in module.state_dict().items())
    if "module" in wrap:
        assert any("a whole module of class torch.nn." in note for note in state.notes)


def test_modules_within_each_other_do_not_go_on_for_ever(tmp_path):
    outer = torch.nn.Module()
    outer.inner = torch.nn.Module()
    outer.inner._modules["outer"] = outer
    torch.save(outer, tmp_path / "mine.pt")
    with pytest.raises(InputError, match="more than 64 levels of modules"):
        read_state(tmp_path / "mine.pt")


def test_torch_s_own_reader_is_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr(restricted_pickle, "RestrictedUnpickler", None)
    torch.save({"state_dict": WEIGHTS, "loss": [np.float64(0.5)], "path": pathlib.Path("a")}, tmp_path / "mine.pt")
    assert read_state(tmp_path / "mine.pt").weights.keys() == WEIGHTS.keys()
