"""Checkpoints: what is saved comes back; a corrupt one is refused; an existing one stays whole."""

import errno
import json
import resource
import signal
from contextlib import contextmanager

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from benchmark.errors import InputError
from benchmark.sources.weights import checkpoint
from benchmark.sources.weights.checkpoint import SIDECAR, WEIGHTS, load_checkpoint, save_checkpoint
from benchmark.storage import files
from benchmark.storage.digest import file_digest

FACTS = {"name": "made", "labels": {"0": "background", "1": "liver"}, "spacing": (1.5, 1.5, 3.0)}


class Twice(nn.Module):
    """One module under two names, and a buffer of another type."""

    def __init__(self, *, value: float = 1.0, side: int = 3):
        super().__init__()
        self.first = nn.Conv3d(1, 4, side)
        self.second = self.first
        self.norm = nn.BatchNorm3d(4)
        with torch.no_grad():
            self.first.weight.fill_(value)
        self.to(memory_format=torch.channels_last_3d)


def _files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_saved_comes_back(tmp_path):
    network = Twice(value=0.25)
    save_checkpoint(network, FACTS, tmp_path / "source")
    loaded = load_checkpoint(tmp_path / "source")
    assert set(loaded.weights) == set(network.state_dict())
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.weights[name], value)
        assert loaded.weights[name].dtype == value.dtype
    assert loaded.facts["name"] == "made"
    assert loaded.facts["labels"] == FACTS["labels"]
    assert loaded.facts["spacing"] == [1.5, 1.5, 3.0]
    Twice(value=9.0).load_state_dict(dict(loaded.weights))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_saving_again_replaces_the_folder(tmp_path):
    for value in (1.0, 2.0):
        save_checkpoint(Twice(value=value), FACTS, tmp_path / "source")
    assert float(load_checkpoint(tmp_path / "source").weights["first.weight"].mean()) == 2.0
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def _cut_weights(folder):
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-8])


def _changed_weights(folder):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(bytes(content))


def _no_safetensors(folder):
    (folder / WEIGHTS).write_bytes(b"no weights")
    facts = json.loads((folder / SIDECAR).read_text()) | {"sha256": file_digest(folder / WEIGHTS)}
    (folder / SIDECAR).write_text(json.dumps(facts))


def _no_weights(folder):
    (folder / WEIGHTS).unlink()


def _no_sidecar(folder):
    (folder / SIDECAR).unlink()


def _no_json(folder):
    (folder / SIDECAR).write_text("{")


def _not_utf8(folder):
    (folder / SIDECAR).write_bytes(b'"\xe9"')


def _no_object(folder):
    (folder / SIDECAR).write_text("[]")


SPOILT = {
    "cut": (_cut_weights, r"weights\.safetensors is [0-9a-f]{64}, but its sidecar states [0-9a-f]{64}"),
    "changed": (_changed_weights, r"weights\.safetensors is [0-9a-f]{64}, but its sidecar states "),
    "no safetensors": (_no_safetensors, r"cannot read \S+weights\.safetensors as safetensors: ."),
    "no weights": (_no_weights, r"cannot read weights\.safetensors and source\.json in \S+source: ."),
    "no sidecar": (_no_sidecar, r"cannot read weights\.safetensors and source\.json in \S+source: ."),
    "no JSON": (_no_json, r"cannot read weights\.safetensors and source\.json in \S+source: ."),
    "not UTF-8": (_not_utf8, r"cannot read weights\.safetensors and source\.json in \S+source: ."),
    "no object": (_no_object, r"cannot read weights\.safetensors and source\.json in \S+source: ."),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("case", SPOILT)
def test_a_corrupt_checkpoint_is_refused_in_one_line(tmp_path, case):
    corrupt, line = SPOILT[case]
    save_checkpoint(Twice(), FACTS, tmp_path / "source")
    corrupt(tmp_path / "source")
    with pytest.raises(InputError, match=line) as caught:
        load_checkpoint(tmp_path / "source")
    assert "\n" not in str(caught.value)


def _full(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device", "weights.safetensors")


def _full_as_safetensors_says_it(*args, **kwargs):
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.bad_input
@pytest.mark.parametrize("failing", [_full, _full_as_safetensors_says_it])
def test_a_full_disk_leaves_the_old_folder_and_nothing_half_written(tmp_path, monkeypatch, failing):
    save_checkpoint(Twice(value=1.0), FACTS, tmp_path / "source")
    before = _files(tmp_path)
    monkeypatch.setattr(checkpoint, "save_file", failing)
    with pytest.raises(InputError, match=r"cannot write \S+source: .*No space left on device") as caught:
        save_checkpoint(Twice(value=2.0), FACTS, tmp_path / "source")
    assert "\n" not in str(caught.value)
    assert _files(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@contextmanager
def small_files():
    """No file may grow beyond a kilobyte: a real failure of a real write. Only meanwhile, since pytest writes, too."""
    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.bad_input
def test_a_write_that_the_system_refuses_is_told_in_one_line(tmp_path):
    with small_files(), pytest.raises(InputError, match=r"cannot write \S+source: "):
        save_checkpoint(Twice(side=9), FACTS, tmp_path / "source")
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_before_the_last_step_leaves_the_old_folder(tmp_path, monkeypatch):
    save_checkpoint(Twice(value=1.0), FACTS, tmp_path / "source")
    before = _files(tmp_path)

    def interrupted(file):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(Twice(value=2.0), FACTS, tmp_path / "source")
    assert _files(tmp_path) == before
