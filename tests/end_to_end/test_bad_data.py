"""What can be wrong with data of one's own: one table, one clear line each; the command line then exits with code 2.

A row says in which layout what is corrupt, and the line that must follow.
"""

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hydra.utils import instantiate

from benchmark.errors import InputError
from benchmark.jobs.cli import message_of
from tests.benchmark.data.conftest import SHAPE, SPACING, make_msd, make_nnunet, volume, write

IMAGE, LABELS = "imagesTr/spleen_0.nii.gz", "labelsTr/spleen_0.nii.gz"
RAW_IMAGE, RAW_LABELS = "imagesTr/case_0_0000.nii.gz", "labelsTr/case_0.nii.gz"
GIB = 2**30


@dataclass(frozen=True)
class Bad:
    """A fault: the line that tells it, what is done to the folder, the layout, and settings of the task."""

    line: str
    corrupt: Callable[[Path], None]
    layout: str = "msd"
    settings: tuple[tuple[str, object], ...] = ()


def stored(array, name=IMAGE, affine=None):
    return lambda folder: write(folder / name, np.asarray(array), affine)


def content(name, data):
    return lambda folder: (folder / name).write_bytes(data)


def cut(folder):
    path = folder / IMAGE
    path.write_bytes(path.read_bytes()[:-60])


def described(**changes):
    def corrupt(folder):
        path = folder / "dataset.json"
        found = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))

    return corrupt


def entry(image=f"./{IMAGE}", label=f"./{LABELS}"):
    def corrupt(folder):
        path = folder / "dataset.json"
        found = json.loads(path.read_text())
        found["training"][0] = {"image": image, "label": label}
        path.write_text(json.dumps(found))

    return corrupt


def linked(name):
    def corrupt(folder):
        outside = folder.parent / "outside.nii.gz"
        shutil.move(folder / name, outside)
        (folder / name).symlink_to(outside)

    return corrupt


def header(shape, *, body=64):
    """A NIfTI file whose header claims a shape and that holds `body` bytes of voxels."""

    def corrupt(folder):
        image = nib.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4))
        image.header.set_data_shape(shape)
        claimed = image.header.binaryblock + bytes(4)
        with gzip.open(folder / IMAGE, "wb", compresslevel=1) as stream:
            stream.write(claimed)
            for _ in range(body // 2**20):
                stream.write(bytes(2**20))
            stream.write(bytes(body % 2**20))

    return corrupt


def nrrd(spacing="1 1 1", sizes="4 4 4"):
    """An NRRD as another program may write it, named by dataset.json in the place of the first image."""

    def corrupt(folder):
        text = f"NRRD0004\ntype: float\ndimension: 3\nsizes: {sizes}\nspacings: {spacing}\nencoding: raw\n"
        (folder / "imagesTr/spleen_0.nrrd").write_bytes(f"{text}endian: little\n\n".encode() + bytes(256))
        entry(image="imagesTr/spleen_0.nrrd")(folder)

    return corrupt


def vector_labels(folder):
    image = sitk.GetImageFromArray(np.zeros((*SHAPE[::-1], 3), np.uint8), isVector=True)
    sitk.WriteImage(image, str(folder / "labelsTr/spleen_0.mha"))
    entry(label="labelsTr/spleen_0.mha")(folder)


def negative_spacing(folder):
    """ITK takes it as an axis that runs the other way, which the labels' axis does not."""
    path = folder / "imagesTr/spleen_0.mha"
    write(path, volume(0)[0][0])
    content = path.read_bytes()
    assert b"ElementSpacing = 1.5 1 2" in content
    path.write_bytes(content.replace(b"ElementSpacing = 1.5 1 2", b"ElementSpacing = -1.5 1 2"))
    entry(image="imagesTr/spleen_0.mha")(folder)


def no_spacing(folder):
    """Zero in the place of the first column of the affine, which no writer here would write."""
    header = bytearray(gzip.decompress((folder / IMAGE).read_bytes()))
    header[280:284] = bytes(4)
    (folder / IMAGE).write_bytes(gzip.compress(bytes(header)))


def everywhere_empty(folder):
    for path in (folder / "labelsTr").iterdir():
        write(path, np.zeros(SHAPE, np.uint8))


def gone(name):
    return lambda folder: (folder / name).unlink()


def only(cases):
    return lambda folder: described(training=json.loads((folder / "dataset.json").read_text())["training"][:cases])(
        folder
    )


def fold(value):
    return lambda folder: (folder / "splits_final.json").write_text(
        value if isinstance(value, str) else json.dumps(value)
    )


def both(*corrupts):
    def corrupt(folder):
        for one in corrupts:
            one(folder)

    return corrupt


NAN = volume(0)[0][0].copy()
NAN[3, 3, 3] = np.nan
INF = volume(0)[0][0].copy()
INF[3, 3, 3] = np.inf
HUGE = volume(0)[0][0].astype(np.float64)
HUGE[3, 3, 3] = 1e300
FOUR = np.zeros((*SHAPE, 3), np.float32)
COLOURS = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
COMPLEX = np.zeros(SHAPE, np.complex64)
REGIONS = {"background": 0, "whole": [1, 2], "core": 2}

BAD = {
    # files
    "a truncated volume": Bad(rf"cannot read \S+{IMAGE} as NIfTI: .+", cut),
    "no volume at all": Bad(rf"cannot read \S+{IMAGE} as NIfTI: .+", content(IMAGE, b"not a volume")),
    "an empty file": Bad(rf"cannot read \S+{IMAGE} as NIfTI: .+", content(IMAGE, b"")),
    "an NRRD cut short": Bad(r"cannot read \S+spleen_0\.nrrd as NRRD: .+", nrrd(sizes="99 99 99")),
    "an unknown format": Bad(
        r"spleen_0\.dcm: its name must end in one of \.nii, .*", both(content("imagesTr/spleen_0.dcm", b""),
                                                            entry(image="imagesTr/spleen_0.dcm"))
    ),
    "a missing image": Bad(rf"{IMAGE} not found, but dataset\.json lists it", gone(IMAGE)),
    "a missing label file": Bad(rf"{LABELS} not found, but dataset\.json lists it", gone(LABELS)),
    # sizes
    "a header that claims a huge shape": Bad(
        rf"{IMAGE}: it must have a voxel and take at most limit_gib 8 GiB as .*, got shape \(30000, 30000, 30000\)",
        header((30000, 30000, 30000)),
    ),
    "a limit of one's own": Bad(
        rf"{IMAGE}: it must .* at most limit_gib 1e-05 GiB", lambda folder: None, settings=(("limit_gib", 1e-5),)
    ),
    "an axis without voxels": Bad(rf"{IMAGE}: it must have a voxel .*, got shape \(0, 4, 4\)", header((0, 4, 4))),
    "a gzip bomb": Bad(rf"{LABELS}: its shape .* differs from .* \(4, 4, 4\)", header((4, 4, 4), body=GIB // 4)),
    # geometry
    "another shape of the labels": Bad(
        rf"{LABELS}: its shape \(9, 9, 9\) differs from its image's \(18, 22, 26\)", stored(np.ones((9, 9, 9)), LABELS)
    ),
    "another affine of the labels": Bad(
        rf"{LABELS}: its affine differs from its image's by 43 voxels at a corner of the volume \(at most 0\.1\): "
        r"\[1\.5 0 0 0; 0 3 0 0; 0 0 2 0\], image \[1\.5 0 0 0; 0 1 0 0; 0 0 2 0\]",
        stored(volume(0)[1], LABELS, np.diag([1.5, 3.0, 2.0, 1.0])),
    ),
    "four axes where dataset.json has one channel": Bad(
        rf"cannot use \S+{IMAGE}: the case has 3 channels, but dataset\.json states 1 .*", stored(FOUR)
    ),
    "an image in colours where dataset.json has one channel": Bad(
        rf"cannot use \S+{IMAGE}: the case has 3 channels, but dataset\.json states 1 \(each colour of an RGB .*",
        stored(COLOURS),
    ),
    "cases of other channels than the first, where dataset.json states none": Bad(
        r"cannot use \S+spleen_1\.nii\.gz: the case has 3 channels, but the first training case has 1 .*",
        both(described(modality=None), stored(COLOURS, IMAGE.replace("0.nii", "1.nii"))),
    ),
    "colours that nnU-Net's planner cannot read": Bad(
        rf"nnU-Net cannot plan \S+{IMAGE} \(plan\.kind=nnunet\): .*; store one file per channel, or choose plan.*",
        stored(COLOURS),
        settings=(("plan", {"_target_": "benchmark.data.preprocessing.planning.Plan", "kind": "nnunet"}),
                  ("test_share", 0.0)),
    ),
    "labels in colours": Bad(
        rf"cannot use \S+{LABELS} as labels: it has 3 values per voxel \(such as colours\), .*",
        stored(COLOURS, LABELS),
    ),
    "labels in colours, MHA": Bad(
        r"cannot use \S+spleen_0\.mha as labels: it has 3 values per voxel .*", vector_labels
    ),
    "complex numbers": Bad(rf"cannot use \S+{IMAGE}: voxels must be real numbers, got complex64",
                           stored(COMPLEX)),
    "labels of complex numbers": Bad(rf"cannot use \S+{LABELS}: voxels must be real numbers, got .*",
                                     stored(COMPLEX, LABELS)),
    "several layers of labels": Bad(
        rf"cannot use \S+{LABELS} as labels: it has 3 layers \(shape \(18, 22, 26, 3\)\), expected 1 with .*",
        stored(FOUR, LABELS),
    ),
    "vectors of labels": Bad(
        rf"cannot use \S+{LABELS} as labels: it has 3 layers .*", stored(np.zeros((*SHAPE, 1, 3), np.uint8), LABELS)
    ),
    "five axes": Bad(
        rf"{IMAGE}: it must have 2 to 4 axes, or 5 with one time point, got shape \(3, 3, 3, 4, 2\)",
        stored(np.zeros((3, 3, 3, 4, 2), np.float32)),
    ),
    "labels that are moved by more than a tenth of a voxel": Bad(
        rf"{LABELS}: its affine differs from its image's by 0\.11 voxels at a corner of .* \(at most 0\.1\): .*",
        stored(volume(0)[1], LABELS, np.diag([*SPACING, 1.0]) + 0.22 * np.eye(4)[2][:, None] * np.eye(4)[3]),
    ),
    "a spacing of zero": Bad(rf"{IMAGE}: spacing must be positive .*, got \(0\.0, 1\.0, 2\.0\) mm",
                             no_spacing),
    "a spacing of zero, NRRD": Bad(r"cannot \S+ \S+spleen_0\.nrrd.*spacing.*", nrrd(spacing="1 0 1")),
    "a negative spacing": Bad(rf"{LABELS}: its affine differs from its image's by 35 voxels .*", negative_spacing),
    # values
    "NaN": Bad(rf"{IMAGE}: voxels must be finite, got 1 NaN or inf", stored(NAN)),
    "infinity": Bad(rf"{IMAGE}: voxels must be finite, got 1 NaN or inf", stored(INF)),
    "a value that float32 cannot hold": Bad(rf"{IMAGE}: voxels must be finite, got 1 NaN or inf", stored(HUGE)),
    "a label outside dataset.json": Bad(
        rf"{LABELS}: label values must be in dataset\.json \[0, 1, 2\], got 7", stored(volume(0)[1] * 7, LABELS)
    ),
    "half a label": Bad(
        rf"{LABELS}: label values must .*, got 0\.5", stored(volume(0)[1].astype(np.float32) / 2, LABELS)
    ),
    "a label that is not whole to a thousandth": Bad(
        rf"{LABELS}: label values must .*, got 1\.00199\d+", stored(volume(0)[1] * np.float32(1.002), LABELS)
    ),
    "a negative label": Bad(
        rf"{LABELS}: label values must .*, got -1", stored(-volume(0)[1].astype(np.int16).clip(0, 1), LABELS)
    ),
    "no foreground anywhere": Bad(r"split train has no foreground voxel in any case", everywhere_empty),
    # dataset.json
    "no dataset.json": Bad(r"dataset\.json not found; for the embedded suite .*", gone("dataset.json")),
    "JSON that is not UTF-8": Bad(
        r"cannot read \S+dataset\.json as UTF-8 JSON: .*", content("dataset.json", b'{"name": "\xe9"}')
    ),
    "JSON that is cut": Bad(r"cannot read \S+dataset\.json as UTF-8 JSON: .*",
                            content("dataset.json", b'{"training": [')),
    "JSON nested too deep": Bad(r"cannot read \S+dataset\.json as UTF-8 JSON: .*",
                                content("dataset.json", b"[" * 200_000)),
    "JSON that is a list": Bad(r"dataset\.json must be a JSON object, got list", content("dataset.json", b"[]")),
    "no labels": Bad(r"dataset\.json must have the keys labels and training, got .*", described(labels=None)),
    "label values that are not consecutive": Bad(
        r"dataset\.json: labels must map the values 0, 1, 2, .*", described(labels={"0": "background", "5": "spleen"})
    ),
    "names and values swapped": Bad(
        r"dataset\.json: labels map names to values, as nnU-Net v2 .* MSD .*: write \{\"0\": \"bg\", \"1\": .*\}",
        described(labels={"bg": 0, "spleen": 1}),
    ),
    "values and names swapped": Bad(
        r"dataset\.json: labels map values to names, as MSD and nnU-Net v1 .*: write \{\"bg\": 0, \"liver\": 1\}",
        described(labels={"0": "bg", "1": "liver"}), "nnunet",
    ),
    "a folder of nnU-Net v1 as one of v2": Bad(
        r"dataset\.json must have the keys .*, missing: channel_names; a folder of nnU-Net v1 .*task=msd\)",
        described(channel_names=None, training=[]), "nnunet",
    ),
    "nnU-Net v1 without a channel": Bad(
        r"case spleen_0 must have the channels 0 \.\. 1 of dataset\.json as files such as \S+_0000\.nii\.gz, got \[0\]",
        both(described(modality={"0": "CT", "1": "MR"}),
             lambda folder: (folder / IMAGE).rename(folder / "imagesTr/spleen_0_0000.nii.gz")),
    ),
    "a case without a label": Bad(
        r"dataset\.json: training must list objects with the paths image and label, got .*", entry(label=None)
    ),
    "a case twice": Bad(r"dataset\.json: cases must have distinct names, got spleen_1",
                        entry(image="./imagesTr/spleen_1.nii.gz")),
    "no case": Bad(r"dataset\.json: training lists no case", described(training=[])),
    "one case only": Bad(r"1 labelled case is too few: it is held out for testing and none is left .*", only(1)),
    # paths
    "a path that leaves the folder": Bad(
        r"dataset\.json: paths must stay inside the folder, got \.\./x\.nii\.gz", entry(image="../x.nii.gz")
    ),
    "an absolute path": Bad(
        r"dataset\.json: paths must stay inside the folder, got /etc/passwd", entry(label="/etc/passwd")
    ),
    "a link that leaves the folder": Bad(
        rf"{LABELS} leads out of \S+Task09_Spleen by a symbolic link, to \S+outside\.nii\.gz; links=true allows it",
        linked(LABELS),
    ),
    # settings
    "a share of 1": Bad(r"test_share must be in \[0, 1\), got 1\.0", lambda folder: None,
                        settings=(("test_share", 1.0),)),
    "no labelled case wanted": Bad(r"labelled must be a positive number of cases, got 0", lambda folder: None,
                                   settings=(("labelled", 0),)),
    "a plan that does not exist": Bad(
        r"plan\.kind must be one of zscore, window, nnunet, got nnunet_v3", lambda folder: None,
        settings=(("plan", {"_target_": "benchmark.data.preprocessing.planning.Plan", "kind": "nnunet_v3"}),),
    ),
    "a window without its plan": Bad(
        r"plan\.window must be set for the kind window only, got \[0, 1\] for zscore", lambda folder: None,
        settings=(("plan", {"_target_": "benchmark.data.preprocessing.planning.Plan", "window": (0, 1)}),),
    ),
    # nnU-Net's layout
    "another file_ending": Bad(
        r"imagesTr must contain files NAME_0000\.nrrd, got case_0_0000\.nii\.gz", described(file_ending=".nrrd"),
        "nnunet",
    ),
    "a file_ending that nobody reads": Bad(
        r"dataset\.json: file_ending must be one of .*, got \.mat", described(file_ending=".mat"), "nnunet"
    ),
    "no file_ending": Bad(
        r"dataset\.json must have the keys .*, missing: file_ending", described(file_ending=None), "nnunet"
    ),
    "a channel too few": Bad(
        r"case case_0 must have the channels 0 \.\. 1, got \[1\]", gone(RAW_IMAGE), "nnunet"
    ),
    "a channel too many": Bad(
        r"case case_0 must have the channels 0 \.\. 0, got \[0, 1\]", described(channel_names={"0": "CT"}), "nnunet"
    ),
    "channels of two shapes": Bad(
        rf"{RAW_LABELS}: its shape .* differs from its image's \(9, 9, 9\)", stored(np.ones((9, 9, 9)), RAW_IMAGE),
        "nnunet",
    ),
    "channel names that are listed": Bad(
        r"dataset\.json: channel_names must map the channels .*, got \['CT', 'MR'\]",
        described(channel_names=["CT", "MR"]), "nnunet",
    ),
    "no label file": Bad(rf"{RAW_LABELS} not found, but case_0_0000\.nii\.gz exists", gone(RAW_LABELS), "nnunet"),
    "a linked image": Bad(rf"{RAW_IMAGE} leads out of \S+ by a symbolic link, to .*", linked(RAW_IMAGE), "nnunet"),
    "no folder of images": Bad(
        r"folder \S+imagesTr not found", lambda folder: shutil.rmtree(folder / "imagesTr"), "nnunet"
    ),
    "regions without an order": Bad(
        r"dataset\.json: labels break a rule of nnU-Net: .*regions_class_order.*", described(labels=REGIONS),
        "nnunet",
    ),
    "an order of another length": Bad(
        r"dataset\.json: labels break a rule of nnU-Net: .*as many entries.*",
        described(labels=REGIONS, regions_class_order=[1]), "nnunet",
    ),
    "no background": Bad(
        r"dataset\.json: labels break a rule of nnU-Net: Back.*", described(labels={"liver": 1}), "nnunet"
    ),
    "an ignore label that is not the highest": Bad(
        r"dataset\.json: labels break a rule of nnU-Net: .*ignore label.*",
        described(labels={"background": 0, "ignore": 1, "liver": 2}), "nnunet",
    ),
    "a split without a fold": Bad(
        r"splits_final\.json not found; fold=0 needs it", lambda folder: None, "nnunet", (("fold", 0),)
    ),
    "a split of another data set": Bad(
        r"splits_final\.json: other is not a labelled case", fold([{"train": ["other"], "val": []}]), "nnunet",
        (("fold", 0),),
    ),
    "a case on both sides of a split": Bad(
        r"splits_final\.json: fold 0 lists case_0 more than once",
        fold([{"train": ["case_0"], "val": ["case_0"]}]), "nnunet", (("fold", 0),),
    ),
    "a fold without validation cases": Bad(
        r"splits_final\.json: val of fold 0 lists no case", fold([{"train": ["case_0"], "val": []}]), "nnunet",
        (("fold", 0),),
    ),
    "a fold counted from the end": Bad(
        r"fold must be a whole number of at least 0, got -1",
        fold([{"train": ["case_0"], "val": ["case_1"]}]), "nnunet",
        (("fold", -1),),
    ),
    "a split that is no list": Bad(
        r"splits_final\.json must list folds with train and val, .*", fold({"train": []}), "nnunet", (("fold", 0),)
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, Path]:
    """Sound data sets in each layout, which tests copy."""
    place = tmp_path_factory.mktemp("whole")
    return {"msd": make_msd(place / "Task09_Spleen"), "nnunet": make_nnunet(place / "Dataset501_Made")}


TARGETS = {"msd": "benchmark.data.tasks.msd.MsdTask", "nnunet": "benchmark.data.tasks.nnunet.NnunetTask"}


def read_all(folder: Path, layout: str, settings: dict[str, object]) -> None:
    """What a command does with a task: open it, digest it and read every case."""
    task = instantiate({"_target_": TARGETS[layout], "_convert_": "all", "folder": str(folder)} | settings)
    task.prepare(folder)
    task.digest()
    for split in task.splits:
        assert all(case.image.isfinite().all() for case in task.cases(split, task.preparation))


@pytest.mark.parametrize("layout", ["msd", "nnunet"])
def test_a_sound_data_set_is_read(whole, layout):
    read_all(whole[layout], layout, {})


@pytest.mark.bad_input
@pytest.mark.parametrize("case", BAD)
def test_a_fault_is_told_in_one_line(whole, tmp_path, case):
    bad = BAD[case]
    folder = Path(shutil.copytree(whole[bad.layout], tmp_path / whole[bad.layout].name))
    bad.corrupt(folder)
    with pytest.raises(InputError, match=bad.line) as raised:
        read_all(folder, bad.layout, dict(bad.settings))
    line = message_of(raised.value)
    assert line is not None
    assert "\n" not in line
