"""Tasks of real size, on the small preset: bytes follow the seed, and MSD's reader and other libraries read them."""

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hydra.utils import instantiate

from benchmark.data.embedded.real_size import RealSizeTask
from benchmark.data.tasks.msd import MsdTask
from benchmark.data.tasks.opening import recognise_task
from benchmark.errors import InputError


@pytest.fixture(scope="module")
def small(compose_command, tmp_path_factory):
    """The task of `task=real_size_small`, generated; tests only read it."""
    folder = tmp_path_factory.mktemp("data")
    task = instantiate(compose_command("prepare", "task=real_size_small", f"data_dir={folder}").task)
    assert task.prepare(folder) is True
    assert task.prepare(folder) is False
    return replace(task, folder=Path(task.folder))


def contents(task):
    return {
        path.relative_to(task.folder).as_posix(): path.read_bytes()
        for path in sorted(task.folder.rglob("*"))
        if path.is_file()
    }


def moved(task, place, **changes):
    other = replace(task, folder=place / "other", **changes)
    other.prepare(place)
    return other


def test_equal_seeds_give_equal_bytes(small, tmp_path):
    assert contents(moved(small, tmp_path)) == contents(small)


def test_another_seed_gives_other_voxels_in_every_file(small, tmp_path):
    before, after = contents(small), contents(moved(small, tmp_path, seed=1))
    assert set(before) == set(after)
    assert [name for name in before if before[name] == after[name]] == []


def test_no_two_cases_are_alike(small):
    images = [content for name, content in contents(small).items() if name.startswith("images")]
    assert len(set(images)) == len(images) == 4


def test_every_case_has_every_class(small):
    assert small.labels == {0: "background", 1: "liver", 2: "spleen", 3: "cancer"}
    for split in ("train", "test"):
        for case in small.cases(split):
            assert torch.unique(case.labels).tolist() == [0, 1, 2, 3]


def test_its_splits_part_the_cases_that_msd_lists_for_training(small):
    train, test = small.names("train"), small.names("test")
    assert (len(train), len(test)) == (3, 1)
    description = json.loads((small.folder / "dataset.json").read_text())
    listed = [entry["image"] for entry in description["training"]]
    assert [f"./imagesTr/{name}.nii.gz" for name in train + test] == listed
    assert description["numTraining"] == 4


def test_it_is_read_as_a_folder_of_msd(small):
    task = MsdTask(small.folder)
    assert task.labels == small.labels
    assert sorted(task.names("train") + task.names("test")) == sorted(small.names("train") + small.names("test"))
    (case, *_) = task.cases("train")
    assert case.image.shape[:3] == (1, 48, 40)
    assert case.spacing[2] > 2 * case.spacing[0] == 2 * case.spacing[1]
    assert recognise_task(small.folder)["_target_"] == "benchmark.data.tasks.msd.MsdTask"


def test_images_are_ct_in_hounsfield_units_with_noise(small):
    for path in sorted((small.folder / "imagesTr").iterdir()):
        image, labels = (nib.load(folder / path.name) for folder in (path.parent, small.folder / "labelsTr"))
        assert image.get_data_dtype() == np.int16
        assert labels.get_data_dtype() == np.uint8
        assert np.array_equal(image.affine, labels.affine)
        values, classes = np.asarray(image.dataobj), np.asarray(labels.dataobj)
        assert values.min() >= -1024
        assert abs(np.median(values[0, 0]) + 1000) < 15  # air
        assert np.median(values[classes == 2]) > 60
        assert 10 < values[classes == 2].std() < 40


def test_simple_itk_reads_what_nibabel_reads(small):
    path = next((small.folder / "imagesTr").iterdir())
    mine, other = nib.load(path), sitk.ReadImage(str(path))
    assert np.array_equal(sitk.GetArrayFromImage(other).T, np.asarray(mine.dataobj))
    assert other.GetSpacing() == pytest.approx([float(mm) for mm in mine.header.get_zooms()])
    assert other.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)


def test_the_numbers_of_slices_cover_the_range(small):
    depths = [nib.load(path).shape[2] for path in (small.folder / "imagesTr").iterdir()]
    assert sorted(depths) == [9, 11, 12, 14]


@pytest.mark.parametrize("organs", [1, 4, 12])
def test_any_number_of_classes(organs, tmp_path):
    names = tuple(f"organ_{index}" for index in range(organs))
    task = RealSizeTask(
        "made", tmp_path / "made", organs=names, plane=(64, 64), slices=(12, 12), counts={"train": 2, "test": 1}
    )
    task.prepare(tmp_path)
    for split in ("train", "test"):
        assert all(torch.unique(case.labels).tolist() == list(range(organs + 1)) for case in task.cases(split))


@pytest.mark.bad_input
def test_a_grid_without_room_for_a_class_is_refused(tmp_path):
    task = RealSizeTask("made", tmp_path / "made", organs=tuple("abcdefgh"), plane=(4, 4), slices=(2, 2))
    with pytest.raises(InputError, match=r"task made: `plane`, `slices` and `radius` must be .*, got \(4, 4, 2\) and"):
        task.prepare(tmp_path)
    assert list(tmp_path.iterdir()) == []  # nothing half made is left


@pytest.mark.bad_input
def test_a_downloaded_folder_is_not_replaced(small, tmp_path):
    task = replace(small, folder=tmp_path / "Task03_Liver")
    task.folder.mkdir()
    downloaded = {key: value for key, value in small.description.items() if key != "recipe"}
    (task.folder / "dataset.json").write_text(json.dumps(downloaded))
    with pytest.raises(InputError, match="Task03_Liver contains a data set that was not generated and would be repla"):
        task.prepare(tmp_path)
    assert json.loads((task.folder / "dataset.json").read_text()) == downloaded


def test_memory_does_not_grow_with_the_number_of_slices(tmp_path):
    peaks = []
    for depth in (4, 40):
        task = RealSizeTask("made", tmp_path / str(depth), plane=(128, 128), slices=(depth, depth), counts={"train": 1})
        tracemalloc.start()
        task.prepare(tmp_path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


@pytest.mark.parametrize(("name", "classes", "slices"), [("spleen", 2, (67, 102)), ("liver", 3, (74, 750))])
def test_the_presets_have_the_sizes_of_msd(name, classes, slices, compose_command):
    task = instantiate(compose_command("prepare", f"task=real_size_{name}").task)
    assert task.plane == [512, 512]
    assert tuple(task.slices) == slices
    assert 1 + len(task.organs) + bool(task.lesion) == classes
    assert sum(task.counts.values()) == 8
