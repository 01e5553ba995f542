"""Files are whole or absent."""

import pytest
import torch

from benchmark.storage.files import link_or_copy, read_json, read_tensors, write_bytes, write_json, write_tensors


def test_tensors_come_back(tmp_path):
    tensors = {"a": torch.randn(3, 4).T, "b": torch.zeros(0, 2), "c": torch.tensor(3), "d": torch.tensor([True])}
    write_tensors(tmp_path / "x.safetensors", tensors)
    read = read_tensors(tmp_path / "x.safetensors")
    assert set(read) == set(tensors)
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)


def test_json_comes_back(tmp_path):
    write_json(tmp_path / "x.json", {"a": [1, None], "b": "text"})
    assert read_json(tmp_path / "x.json") == {"a": [1, None], "b": "text"}


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_bytes(path, b"before")

    def full(descriptor):
        raise OSError("no space left on device")

    monkeypatch.setattr("benchmark.storage.files.os.fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_bytes(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_copy_where_no_link_can_be(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("text")
    link_or_copy(tmp_path / "a", tmp_path / "b")

    def across(source, target):
        raise OSError("cross-device link")

    monkeypatch.setattr("benchmark.storage.files.os.link", across)
    link_or_copy(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "b").read_text() == (tmp_path / "c").read_text() == "text"
