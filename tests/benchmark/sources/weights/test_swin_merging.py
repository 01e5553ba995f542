"""Swin UNETR of MONAI before 1.5.0: equal tensors, another function; for SuPreM's file see `test_public_networks`."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import pytest
import torch
from monai.networks.nets import SwinUNETR

from benchmark.errors import InputError
from benchmark.sources.readers.bundle import BundleSource
from benchmark.sources.readers.factory import FactorySource
from benchmark.sources.readers.state_dict import StateDictSource
from benchmark.sources.weights.swin_merging import EarlyPatchMerging
from tests.checkpoints import SMALL, small_network, write_bundle

WRITTEN_2023 = datetime(2023, 5, 1, tzinfo=UTC).timestamp()


def alike(one, other):
    """Whether two networks compute the same, to rounding: opened ones have another memory layout."""
    image = torch.randn(1, 1, 64, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return torch.allclose(one.eval()(image), other.eval()(image), atol=1e-4)


def early():
    """The small Swin UNETR of the other tests, with the slices of MONAI 1.4, and the weights of both forms."""
    weights = small_network("SwinUNETR").state_dict()
    network = SwinUNETR(in_channels=1, out_channels=3, downsample=EarlyPatchMerging, **SMALL["SwinUNETR"])
    network.load_state_dict(weights)
    return network, weights


def test_a_file_older_than_the_change_is_merged_as_then(tmp_path):
    network, weights = early()
    path = tmp_path / "swin.pt"
    torch.save(weights, path)
    now = StateDictSource("swin", path)
    assert "merging = monai_1.5" in now.open().facts["assumed"]
    assert not alike(now.open().network(), network)
    fresh = now.digest()
    os.utime(path, (WRITTEN_2023, WRITTEN_2023))
    old = StateDictSource("swin", path)
    assert alike(old.open().network(), network)
    assert any(
        note.startswith("assumed: merging = monai_1.4: the file was written on 2023-05-01") for note in old.open().notes
    )
    assert "merging = monai_1.4" in old.open().facts["assumed"]  # mergingv2 is as old
    assert old.digest() != fresh  # what is kept of one must not be read for the other


@pytest.mark.parametrize(
    ("version", "is_early"), [("1.4.0", True), ("1.3.2rc1", True), ("1.5.0", False), ("1.10", False)]
)
def test_a_bundle_is_merged_by_its_version(version, is_early, tmp_path):
    folder = write_bundle(tmp_path / "bundle", name="SwinUNETR")
    path = folder / "configs" / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"monai_version": version}))
    network, weights = early()
    torch.save(weights, folder / "models" / "model.pt")
    model = BundleSource("bundle", folder).open()
    assert alike(model.network(), network) == is_early
    assert any(f"metadata.json names MONAI {version}" in note for note in model.notes)


@pytest.mark.parametrize(("version", "is_early"), [("1.3.0", True), ("1.6.1", False), (None, True)])
def test_a_bundle_that_writes_the_default_out_or_names_no_version(version, is_early, tmp_path):
    folder = write_bundle(tmp_path / "bundle", name="SwinUNETR")
    metadata, config = folder / "configs" / "metadata.json", folder / "configs" / "train.json"
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | {"monai_version": version}))
    content = json.loads(config.read_text())
    content["network_def"] |= {"downsample": "merging", "img_size": [64, 32, 32]}  # an argument that MONAI removed
    config.write_text(json.dumps(content))
    network, weights = early()
    torch.save(weights, folder / "models" / "model.pt")
    os.utime(folder / "models" / "model.pt", (WRITTEN_2023, WRITTEN_2023))
    model = BundleSource("bundle", folder).open()
    assert alike(model.network(), network) == is_early
    assert ("merging = monai_1.4" in model.facts.get("assumed", "")) == (version is None)
    assert any(note.startswith("img_size of SwinUNETR") for note in model.notes)
    chosen = BundleSource("bundle", folder, settings={"merging": "monai_1.5"}).open()
    assert not alike(chosen.network(), network)


def test_an_unknown_form_is_refused(tmp_path):
    torch.save(small_network("SwinUNETR").state_dict(), tmp_path / "swin.pt")
    with pytest.raises(InputError, match=r"settings.merging must be one of monai_1.4, monai_1.5, mergingv2, got 'old'"):
        StateDictSource("swin", tmp_path / "swin.pt", settings={"merging": "old"}).open()


def test_a_network_that_is_named_is_merged_by_the_file_too(tmp_path):
    network, weights = early()
    path = tmp_path / "swin.pt"
    torch.save(weights, path)
    named = "monai.networks.nets:SwinUNETR"
    assert any(
        "merging = monai_1.5" in note
        for note in FactorySource("swin", named, path, settings=SMALL["SwinUNETR"]).open().notes
    )
    os.utime(path, (WRITTEN_2023, WRITTEN_2023))
    model = FactorySource("swin", named, path, settings=SMALL["SwinUNETR"]).open()
    assert alike(model.network(), network)
    arch = replace(model.arch, network=partial(SwinUNETR, **SMALL["SwinUNETR"]))
    assert alike(StateDictSource("swin", path, arch=arch).open().network(), network)
