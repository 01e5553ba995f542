"""Raw and preprocessed data sets of nnU-Net, with regions, folds, 2D images and several formats."""

import json
import shutil

import numpy as np
import pytest
import torch
from skimage import io

from benchmark.core.labels import IGNORED
from benchmark.data.preprocessing.planning import Plan, preparation_from_plans
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.tasks.nnunet import NnunetTask, PreprocessedTask
from benchmark.errors import SkipPair
from tests.benchmark.data.conftest import SHAPE, SPACING, make_nnunet, make_plans, volume, write


@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha"])
def test_the_format_changes_nothing(raw, tmp_path, ending):
    same = make_nnunet(tmp_path / "Dataset501_Made", ending=ending)
    for preparation in (Preparation(), preparation_from_plans(make_plans(), "3d_fullres")):
        for one, other in zip(
            *(NnunetTask(f, test_share=0).cases("train", preparation) for f in (raw, same)), strict=True
        ):
            assert torch.equal(one.image, other.image)
            assert torch.equal(one.labels, other.labels)
            assert one.spacing == other.spacing


def test_a_raw_data_set_with_its_own_test_cases(raw, tmp_path):
    folder = tmp_path / "Dataset501_Made"
    shutil.copytree(raw, folder)
    for part in ("images", "labels"):
        shutil.copytree(folder / f"{part}Tr", folder / f"{part}Ts")
        for path in sorted((folder / f"{part}Ts").iterdir()):
            path.rename(path.with_name(f"test_{path.name}"))
    task = NnunetTask(folder, labelled=3)
    assert task.names("test") == [f"test_case_{index}" for index in range(4)]
    assert len(task.names("train")) == 3
    assert task.channels == 2


def test_cases_that_dataset_json_lists(raw, tmp_path):
    folder = tmp_path / "Dataset501_Made"
    shutil.copytree(raw, folder)
    content = json.loads((folder / "dataset.json").read_text())
    images = ["imagesTr/case_0_0000.nii.gz", "imagesTr/case_0_0001.nii.gz"]
    listed = {"a": {"images": images, "label": "labelsTr/case_0.nii.gz"}}
    (folder / "dataset.json").write_text(json.dumps(content | {"dataset": listed}))
    assert NnunetTask(folder, test_share=0).names("train") == ["a"]


def test_a_fold_of_nnunets(raw, tmp_path):
    folder = tmp_path / "Dataset501_Made"
    shutil.copytree(raw, folder)
    folds = [{"train": ["case_0", "case_2"], "val": ["case_3"]}]
    (folder / "splits_final.json").write_text(json.dumps(folds))
    task = NnunetTask(folder, fold=0)
    assert (task.names("train"), task.names("test")) == (["case_0", "case_2"], ["case_3"])


def test_regions_become_the_classes_that_nnunet_exports(tmp_path):
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4}
    folder = make_nnunet(tmp_path / "Dataset502_Regions", cases=2, labels=labels, regions_class_order=[1, 2, 3])
    stored = np.random.default_rng(0).integers(0, 5, SHAPE, dtype=np.uint8)
    write(folder / "labelsTr/case_0.nii.gz", stored)
    task = NnunetTask(folder, test_share=0)
    assert task.labels == {0: "background", 1: "whole", 2: "core", 3: "enhancing"}
    case = task.cases("train")[0]
    np.testing.assert_array_equal(case.labels.numpy(), np.where(stored == 4, IGNORED, stored))

    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    manager = LabelManager(labels, [1, 2, 3])
    regions = np.stack([np.isin(stored, region) for region in manager.foreground_regions]).astype(np.float32)
    exported = np.asarray(manager.convert_probabilities_to_segmentation(regions))
    known = stored != 4
    np.testing.assert_array_equal(case.labels.numpy()[known], exported[known])


def test_a_region_that_hides_another_value(tmp_path):
    labels = {"background": 0, "all": [1, 2]}
    folder = make_nnunet(tmp_path / "Dataset503_All", cases=2, labels=labels, regions_class_order=[1])
    task = NnunetTask(folder, test_share=0)
    assert task.labels == {0: "background", 1: "all"}
    assert task.cases("train")[0].labels.unique().tolist() == [0, 1]


@pytest.fixture
def flat(tmp_path):
    """2D colour images."""
    folder = tmp_path / "Dataset120_Roads"
    rng = np.random.default_rng(0)
    for index in range(3):
        labels = np.zeros((12, 20), np.uint8)
        labels[3:8, 5:15] = 1
        for part, array in (("images", rng.integers(0, 256, (12, 20, 3), np.uint8)), ("labels", labels)):
            (folder / f"{part}Tr").mkdir(parents=True, exist_ok=True)
            name = f"road_{index}_0000.png" if part == "images" else f"road_{index}.png"
            io.imsave(folder / f"{part}Tr/{name}", array, check_contrast=False)
    names = {"0": "rgb_to_0_1", "1": "rgb_to_0_1", "2": "rgb_to_0_1"}
    description = {"channel_names": names, "labels": {"background": 0, "road": 1}, "file_ending": ".png"}
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


def test_a_2d_image_is_a_volume_of_one_slice(flat):
    task = NnunetTask(flat, test_share=0, plan=Plan("window", (0.0, 255.0)))
    case = task.cases("train")[0]
    assert case.image.shape == (3, 1, 12, 20)
    assert case.labels.shape == (1, 12, 20)
    stored = io.imread(flat / "imagesTr/road_0_0000.png")
    np.testing.assert_allclose(case.image[1, 0].numpy(), stored[..., 1] / 127.5 - 1, atol=1e-6)


def test_a_3d_tiff_takes_its_spacing_from_the_file_beside_it(tmp_path):
    import tifffile

    folder = make_nnunet(tmp_path / "Dataset504_Stacks", cases=2, file_ending=".tif", channel_names={"0": "CT"})
    for index in range(2):
        image, labels = volume(index)
        tifffile.imwrite(folder / f"imagesTr/case_{index}_0000.tif", image[0].T)
        tifffile.imwrite(folder / f"labelsTr/case_{index}.tif", labels.T)
        for part in ("imagesTr", "labelsTr"):
            (folder / f"{part}/case_{index}.json").write_text(json.dumps({"spacing": SPACING[::-1]}))
    case = NnunetTask(folder, test_share=0).cases("train")[0]
    assert case.spacing == SPACING
    np.testing.assert_array_equal(case.labels.numpy(), volume(0)[1])


@pytest.mark.nnunet
def test_preprocessed_cases_are_those_of_the_raw_data(raw, preprocessed):
    task, other = PreprocessedTask(preprocessed, test_share=0), NnunetTask(raw, test_share=0)
    assert task.names("train") == other.names("train")
    assert task.labels == other.labels
    for one, same in zip(task.cases("train"), other.cases("train", task.preparation), strict=True):
        np.testing.assert_allclose(one.image.numpy(), same.image.numpy(), atol=1e-5)  # float32 sums, another order
        assert torch.equal(one.labels, same.labels)
        assert one.spacing == same.spacing
    with pytest.raises(SkipPair, match=r"Dataset501_Made is preprocessed by its own plans"):
        task.cases("train", Preparation())


@pytest.mark.nnunet
def test_pickles_beside_preprocessed_arrays_are_not_opened(preprocessed, tmp_path):
    folder = tmp_path / "Dataset501_Made"
    shutil.copytree(preprocessed, folder)
    for path in folder.glob("*/*.pkl"):
        path.write_bytes(b"cos\nsystem\n(S'touch /tmp/should_not_be_there'\ntR.")
    assert len(list(PreprocessedTask(folder, test_share=0).cases("train"))) == 4
