"""Folders of MSD: splits, channels, formats, the download."""

import json

import numpy as np
import pytest
import torch

from benchmark.data.preprocessing.planning import Plan
from benchmark.data.tasks.msd import MsdTask
from benchmark.errors import InputError
from tests.benchmark.data.conftest import SHAPE, SPACING, make_msd, volume, write


def test_an_msd_folder_is_split_by_a_seed(msd):
    task = MsdTask(msd, seed=1)
    assert task.name == "Task09_Spleen"
    assert task.labels == {0: "background", 1: "spleen", 2: "cyst"}
    assert (task.classes, task.channels) == (3, 1)
    train, test = task.names("train"), task.names("test")
    assert len(train) == 4
    assert len(test) == 1
    assert set(train).isdisjoint(test)
    assert set(MsdTask(msd, seed=1, labelled=2).names("train")) < set(train)
    assert {tuple(MsdTask(msd, seed=seed).names("test")) for seed in range(6)} != {tuple(test)}
    case = task.cases("train")[0]
    assert case.image.shape == (1, *SHAPE)
    assert case.spacing == SPACING


def test_the_split_does_not_depend_on_the_order_of_dataset_json(msd):
    before = MsdTask(msd).names("train")
    path = msd / "dataset.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"training": content["training"][::-1]}))
    assert MsdTask(msd).names("train") == before


def test_the_digest_follows_the_split(msd):
    assert MsdTask(msd).digest() == MsdTask(msd).digest()
    assert MsdTask(msd, test_share=0.4).digest() != MsdTask(msd).digest()


def test_several_channels_in_one_file(msd):
    image, _ = volume(0, channels=4)
    for index in range(5):
        write(msd / f"imagesTr/spleen_{index}.nii.gz", np.moveaxis(image, 0, -1))
    content = json.loads((msd / "dataset.json").read_text())
    modality = {str(channel): "MRI" for channel in range(4)}
    (msd / "dataset.json").write_text(json.dumps(content | {"modality": modality}))
    task = MsdTask(msd, plan=Plan("window", (0.0, 2.0)))
    assert task.channels == 4
    np.testing.assert_allclose(task.cases("train")[0].image.numpy(), image.clip(0, 2) - 1, atol=1e-6)


@pytest.mark.bad_input
def test_a_download_is_asked_for_and_a_failed_one_is_one_line(tmp_path, monkeypatch):
    import monai.apps

    def unreachable(*args, **kwargs):
        raise OSError("<urlopen error [Errno -2] Name or service not known>")

    monkeypatch.setattr(monai.apps, "download_and_extract", unreachable)
    with pytest.raises(InputError, match=r"cannot download \S+Task09_Spleen from https://.*tar: <url"):
        MsdTask(tmp_path / "Task09_Spleen", download=True).names("train")
    with pytest.raises(
        InputError, match=r"the folder must be named one of Task01_.* for download=true, got Task99_Mine"
    ):
        MsdTask(tmp_path / "Task99_Mine", download=True).names("train")
    with pytest.raises(InputError, match=r"dataset\.json not found"):
        MsdTask(tmp_path / "Task09_Spleen").names("train")


def test_a_download_is_unpacked_once(tmp_path, monkeypatch):
    import monai.apps

    calls = []

    def fetched(url, archive, folder, **rules):
        calls.append((url, rules["hash_type"], len(rules["hash_val"])))
        make_msd(folder / "Task09_Spleen")

    monkeypatch.setattr(monai.apps, "download_and_extract", fetched)
    task = MsdTask(tmp_path / "Task09_Spleen", download=True)
    assert task.prepare(tmp_path) is True
    assert MsdTask(tmp_path / "Task09_Spleen", download=True).prepare(tmp_path) is False
    assert [(kind, digits) for _, kind, digits in calls] == [("md5", 32)]


def test_nnunet_v1_stores_channels_in_files_that_dataset_json_does_not_list(msd):
    before = MsdTask(msd, test_share=0).cases("train")[0].image
    content = json.loads((msd / "dataset.json").read_text())
    (msd / "dataset.json").write_text(json.dumps(content | {"modality": {"0": "CT", "1": "MR"}}))
    for index in range(5):
        path = msd / f"imagesTr/spleen_{index}.nii.gz"
        path.rename(path.with_name(f"spleen_{index}_0000.nii.gz"))
        write(path.with_name(f"spleen_{index}_0001.nii.gz"), volume(index + 9)[0][0])
    task = MsdTask(msd, test_share=0)
    assert task.names("train") == [f"spleen_{index}" for index in range(5)]
    image = task.cases("train")[0].image
    assert image.shape == (2, *SHAPE)
    torch.testing.assert_close(image[:1], before)


def test_labels_that_are_almost_whole_are_rounded_and_their_layer_axis_is_dropped(msd):
    _, labels = volume(0)
    write(msd / "labelsTr/spleen_0.nii.gz", (labels * np.float32(0.9996))[..., None])
    case = MsdTask(msd, test_share=0).cases("train")[0]
    np.testing.assert_array_equal(case.labels.numpy(), labels)


def test_links_out_of_the_folder_are_followed_if_allowed(msd):
    blob = msd.parent / "blobs" / "0123abcd"  # as in a cache, whose files have no ending
    blob.parent.mkdir()
    (msd / "imagesTr/spleen_0.nii.gz").rename(blob)
    (msd / "imagesTr/spleen_0.nii.gz").symlink_to(blob)
    with pytest.raises(InputError, match="links=true allows it"):
        MsdTask(msd, test_share=0).names("train")
    task = MsdTask(msd, test_share=0, links=True)
    assert task.names("train")[0] == "spleen_0"
    assert task.cases("train")[0].image.shape == (1, *SHAPE)


def test_formats_may_be_mixed_since_geometry_is_one(msd):
    _, labels = volume(0)
    write(msd / "labelsTr/spleen_0.nrrd", labels)
    content = json.loads((msd / "dataset.json").read_text())
    content["training"][0]["label"] = "labelsTr/spleen_0.nrrd"
    (msd / "dataset.json").write_text(json.dumps(content))
    case = next(case for case in MsdTask(msd, test_share=0).cases("train") if case.name == "spleen_0")
    np.testing.assert_array_equal(case.labels.numpy(), labels)
