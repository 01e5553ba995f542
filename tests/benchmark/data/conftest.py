"""Small data sets of one's own, made on disk: MSD folders and raw data sets of nnU-Net."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

SHAPE = (18, 22, 26)  # x, y, z
SPACING = (1.5, 1.0, 2.0)


def volume(index: int, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Channels (c, x, y, z) with a margin of zeros, and labels 0, 1 and 2 (x, y, z)."""
    rng = np.random.default_rng(index)
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:12, 6:16, 7 + index : 18 + index] = 1
    labels[6:9, 8:12, 9 + index : 13 + index] = 2
    image = np.zeros((channels, *SHAPE), np.float32)
    inner = (slice(None), slice(2, 16), slice(3, 20), slice(4, 25))
    image[inner] = 40.0 * labels[inner[1:]] + 100.0 + rng.normal(0, 20, image[inner].shape)
    image[:, 2, 3, 4] = image[:, 15, 19, 24] = 50.0
    return image.round(2), labels


def write(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> None:
    """Write (x, y, z) in the format of the path's ending, all with the same geometry."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith((".nii", ".nii.gz")):
        nib.save(nib.Nifti1Image(array, np.diag([*SPACING, 1.0]) if affine is None else affine), path)
        return
    image = sitk.GetImageFromArray(array.T)
    image.SetSpacing(SPACING)
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))  # NIfTI's x and y run the other way than ITK's
    sitk.WriteImage(image, str(path), True)


def make_msd(folder: Path, *, cases: int = 5, ending: str = ".nii.gz") -> Path:
    """An MSD folder as it is downloaded: test cases without labels, hidden files of macOS."""
    for index in range(cases):
        image, labels = volume(index)
        write(folder / f"imagesTr/spleen_{index}{ending}", image[0])
        write(folder / f"labelsTr/spleen_{index}{ending}", labels)
        (folder / f"imagesTr/._spleen_{index}{ending}").write_bytes(b"hidden")
    description = {
        "name": "Spleen",
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "spleen", "2": "cyst"},
        "numTraining": cases,
        "numTest": 1,
        "training": [
            {"image": f"./imagesTr/spleen_{index}{ending}", "label": f"./labelsTr/spleen_{index}{ending}"}
            for index in range(cases)
        ],
        "test": ["./imagesTs/spleen_99.nii.gz"],
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


def make_nnunet(folder: Path, *, cases: int = 4, ending: str = ".nii.gz", **changes) -> Path:
    """A raw data set of nnU-Net with the channels CT and MR."""
    for index in range(cases):
        image, labels = volume(index, channels=2)
        for channel in range(2):
            write(folder / f"imagesTr/case_{index}_000{channel}{ending}", image[channel])
        write(folder / f"labelsTr/case_{index}{ending}", labels)
    description = {
        "channel_names": {"0": "CT", "1": "MR"},
        "labels": {"background": 0, "liver": 1, "tumour": 2},
        "numTraining": cases,
        "file_ending": ending,
    }
    (folder / "dataset.json").write_text(json.dumps(description | changes))
    return folder


@pytest.fixture
def msd(tmp_path) -> Path:
    return make_msd(tmp_path / "Task09_Spleen")


@pytest.fixture(scope="session")
def raw(tmp_path_factory) -> Path:
    """A raw data set of nnU-Net that tests only read."""
    return make_nnunet(tmp_path_factory.mktemp("raw") / "Dataset501_Made")


@pytest.fixture(scope="session")
def plans_folder(tmp_path_factory) -> Path:
    """Where nnU-Net's plans of `raw` are kept, so that they are made once."""
    return tmp_path_factory.mktemp("plans")


def make_plans(**changes) -> dict:
    """Plans as nnU-Net writes them, with another spacing and order of axes than the stored ones."""
    bounds = {"mean": 140.0, "std": 22.0, "percentile_00_5": 90.0, "percentile_99_5": 207.0}
    functions = {
        f"resampling_fn_{kind}{end}": value
        for kind, is_seg, order in (("data", False, 3), ("seg", True, 1), ("probabilities", False, 1))
        for end, value in (
            ("", "resample_data_or_seg_to_shape"),
            ("_kwargs", {"is_seg": is_seg, "order": order, "order_z": 0, "force_separate_z": None}),
        )
    }
    common = functions | {
        "preprocessor_name": "DefaultPreprocessor",
        "normalization_schemes": ["CTNormalization", "ZScoreNormalization"],
        "use_mask_for_norm": [False, True],
        "architecture": {},
        "batch_size": 2,
    }
    return {
        "dataset_name": "Dataset501_Made",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [1, 0, 2],
        "transpose_backward": [1, 0, 2],
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": bounds, "1": bounds},
        "configurations": {
            "3d_fullres": common
            | {"data_identifier": "nnUNetPlans_3d_fullres", "patch_size": [8, 8, 8], "spacing": [1.3, 1.6, 1.1]},
            "2d": common | {"data_identifier": "nnUNetPlans_2d", "patch_size": [8, 8], "spacing": [1.6, 1.1]},
            "3d_lowres": {"inherits_from": "3d_fullres", "spacing": [2.6, 3.2, 2.2]},
        },
    } | changes


def make_preprocessed(raw: Path, folder: Path, plans: dict) -> Path:
    """What nnU-Net's own preprocessor makes of a raw data set."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans)
    configuration = manager.get_configuration("3d_fullres")
    description = json.loads((raw / "dataset.json").read_text())
    place = folder / configuration.data_identifier
    place.mkdir(parents=True)
    (folder / "nnUNetPlans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(description))
    preprocessor = configuration.preprocessor_class(verbose=False)
    for index in range(description["numTraining"]):
        images = [str(path) for path in sorted((raw / "imagesTr").glob(f"case_{index}_*"))]
        labels = str(next((raw / "labelsTr").glob(f"case_{index}.*")))
        preprocessor.run_case_save(str(place / f"case_{index}"), images, labels, manager, configuration, description)
    return folder


@pytest.fixture(scope="session")
def preprocessed(raw, tmp_path_factory) -> Path:
    """The raw data set, preprocessed; tests only read it."""
    return make_preprocessed(raw, tmp_path_factory.mktemp("preprocessed") / "Dataset501_Made", make_plans())
