"""Tasks of one's own data: MSD folders, raw and preprocessed data sets of nnU-Net, 2D images, formats."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from skimage import io

from benchmark.core.labels import IGNORED
from benchmark.data.files.cases import Case, Cases
from benchmark.data.preprocessing.planning import Plan, preparation_from_plans
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.tasks.nnunet import NnunetTask, PreprocessedTask
from benchmark.data.tasks.opening import prepared, recognise_task
from benchmark.data.tasks.own import MsdTask
from benchmark.errors import InputError, SkipPair
from benchmark.jobs.cli import CONF, prepare_config
from tests.benchmark.data.conftest import SHAPE, SPACING, make_msd, make_nnunet, make_plans, volume, write


def composed(name: str, *overrides: str):
    """The task as `target=NAME` gives it on the command line."""
    prepare_config()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return instantiate(compose("score", [f"target={name}", *(f"target.{one}" for one in overrides)]).target)


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


def test_formats_may_be_mixed_since_geometry_is_one(msd):
    _, labels = volume(0)
    write(msd / "labelsTr/spleen_0.nrrd", labels)
    content = json.loads((msd / "dataset.json").read_text())
    content["training"][0]["label"] = "labelsTr/spleen_0.nrrd"
    (msd / "dataset.json").write_text(json.dumps(content))
    case = next(case for case in MsdTask(msd, test_share=0).cases("train") if case.name == "spleen_0")
    np.testing.assert_array_equal(case.labels.numpy(), labels)


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


def test_going_through_keeps_no_case_and_indexing_keeps_some(msd):
    cases = MsdTask(msd, test_share=0).cases("train")
    gone_through = list(cases)
    assert len(gone_through) == len(cases) == 5
    assert cases[1] is not gone_through[1]
    assert cases[1] is cases[1]
    assert cases[-1].name == cases[4].name
    assert [case.name for case in cases[:2]] == ["spleen_0", "spleen_1"]
    tight = Cases([lambda case=case: replace(case) for case in gone_through], place="folder", kept_gib=0.0)
    first = tight[2]
    assert tight[2] is first  # a case above the limit is kept alone
    assert tight[3] is not first
    assert tight[2] is not first


def test_the_command_line_needs_a_folder_alone(msd, raw, preprocessed):
    for name, folder in (("msd", msd), ("nnunet", raw), ("nnunet_preprocessed", preprocessed)):
        task = composed(name, f"folder={folder}")
        assert task.name == folder.name
        assert task.names("train")
    assert composed("msd", f"folder={msd}", "name=mine", "plan.kind=window", "plan.window=[0,1]").preparation


@pytest.mark.parametrize("name", ["msd", "nnunet", "nnunet_preprocessed"])
def test_a_folder_is_recognised(name, request):
    fixture = {"msd": "msd", "nnunet": "raw", "nnunet_preprocessed": "preprocessed"}[name]
    folder = request.getfixturevalue(fixture)
    found, chosen = instantiate(recognise_task(folder)), composed(name, f"folder={folder}")
    assert type(found) is type(chosen)
    assert found.names("train") == chosen.names("train")
    assert found.digest() == chosen.digest()
    assert found.preparation == chosen.preparation


@pytest.mark.bad_input
def test_a_folder_that_is_no_task_is_told(tmp_path):
    with pytest.raises(InputError, match=r"task \S+nowhere not found: it must be a folder with dataset\.json"):
        recognise_task(tmp_path / "nowhere")
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(
        InputError, match=r"dataset\.json must have the key training \(MSD\) or channel_names \(nnU-Net v2\)"
    ):
        recognise_task(tmp_path)


def test_what_lies_beside_a_users_folder_is_left_alone(msd, compose_command):
    """A job that makes a task clears what a killed one left; a folder of a user's has no such neighbours."""
    beside = msd.parent / f".{msd.name}-backup"
    beside.mkdir()
    node = compose_command("prepare", "task=msd", f"task.folder={msd}", f"data_dir={msd.parent / 'data'}").task
    prepared(node, msd.parent / "data")
    assert beside.is_dir()


def test_a_part_of_the_cases_is_read_as_it_is_gone_through():
    read = []
    blank = Case("x", torch.zeros(1, 2, 2, 2), torch.ones(2, 2, 2, dtype=torch.uint8), (1.0, 1.0, 1.0))
    whole = Cases([lambda index=index: read.append(index) or blank for index in range(5)], place="folder")
    part = whole[1:4]
    assert (len(part), read) == (3, [])
    next(iter(part))
    assert read == [1]
    assert len(list(whole[:None])) == 5
