"""A task on disk: what is read, and one clear line for everything that a task can get wrong."""

import gzip
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from benchmark.data.preprocessing.normalise import Normalisation
from benchmark.data.tasks.msd_layout import DecathlonTask
from benchmark.errors import InputError

SPACING = (1.5, 2.0, 3.0)
SHAPE = (6, 7, 8)


@dataclass
class Made:
    """A small task on disk, with the means to corrupt it."""

    folder: Path

    @property
    def task(self) -> DecathlonTask:
        """Read anew: a task remembers its dataset.json."""
        return DecathlonTask("made", self.folder, Normalisation((0.0, 2.0)))

    def image(self, index: int = 0) -> Path:
        return self.folder / f"imagesTr/case_{index}.nii.gz"

    def labels(self, index: int = 0) -> Path:
        return self.folder / f"labelsTr/case_{index}.nii.gz"

    def write(self, array, path: Path, affine=None) -> None:
        path.parent.mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(array, np.diag([*SPACING, 1.0]) if affine is None else affine), path)

    def describe(self, **changes) -> None:
        path = self.folder / "dataset.json"
        content = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps({key: value for key, value in (content | changes).items() if value is not None}))


@pytest.fixture
def made(tmp_path) -> Made:
    """Two training cases and a test case with the classes liver and tumour."""
    made = Made(tmp_path / "Task01_Made")
    made.folder.mkdir()
    lists = {"training": [], "test": []}
    for index, split in enumerate(["training", "training", "test"]):
        labels = np.zeros(SHAPE, np.uint8)
        labels[1:4, 2:5, 2:6] = 1
        labels[2, 3, 3] = 2
        made.write(labels.astype(np.float32) + index, made.image(index))
        made.write(labels, made.labels(index))
        lists[split].append({"image": f"./imagesTr/case_{index}.nii.gz", "label": f"labelsTr/case_{index}.nii.gz"})
    made.describe(labels={"2": "tumour", "0": "background", "1": "liver"}, **lists)
    return made


def test_cases_are_read_as_they_lie_on_disk(made):
    cases = list(made.task.cases("train"))
    assert [case.name for case in cases] == made.task.names("train") == ["case_0", "case_1"]
    assert cases[0].image.shape == (1, *SHAPE)
    assert cases[0].image.dtype == torch.float32
    assert cases[0].labels.shape == SHAPE
    assert cases[0].labels.dtype == torch.uint8
    assert cases[0].spacing == SPACING
    assert torch.equal(cases[0].image[0], cases[0].labels.float().clamp(0, 2) - 1.0)  # the window 0 to 2 became -1 to 1


def test_labels_are_sorted_and_counted(made):
    assert made.task.labels == {0: "background", 1: "liver", 2: "tumour"}
    assert list(made.task.labels) == [0, 1, 2]
    assert made.task.classes == 3


def test_several_channels_come_first(made):
    stored = np.random.default_rng(0).random((*SHAPE, 2), dtype=np.float32)
    made.write(stored, made.image())
    image = made.task.cases("train")[0].image
    assert image.shape == (2, *SHAPE)
    np.testing.assert_allclose(image[1].numpy(), stored[..., 1] - 1.0, atol=1e-6)  # float32 on values about 1


def test_splits(made):
    assert made.task.has("train")
    assert made.task.has("test")
    assert not made.task.has("validation")
    assert not made.task.has("external")
    with pytest.raises(InputError, match=r"task made: split must be one of train, validation, test, got external"):
        made.task.cases("external")


def test_preparing_checks_and_makes_nothing(made, tmp_path):
    assert made.task.prepare(tmp_path) is False


def test_the_digest_follows_every_file_and_no_folder(made, tmp_path):
    before = made.task.digest()
    moved = Made(Path(shutil.copytree(made.folder, tmp_path / "elsewhere")))
    assert moved.task.digest() == before
    labels = np.asarray(nib.load(made.labels(2)).dataobj).copy()
    labels[0, 0, 0] = 1
    made.write(labels, made.labels(2))
    assert made.task.digest() != before
    moved.describe(licence="another")
    assert moved.task.digest() != before


# --- what can be wrong: what is done to the task, and the line that must follow ---


def _truncated(made):
    path = made.image()
    path.write_bytes(path.read_bytes()[:-40])


def _flipped_bytes(made):
    content = bytearray(made.image().read_bytes())
    content[30:60] = bytes(255 - value for value in content[30:60])
    made.image().write_bytes(bytes(content))


def _broken_header(made):
    content = bytearray(gzip.decompress(made.image().read_bytes()))
    content[70:72] = (1234).to_bytes(2, "little")  # a data type that NIfTI does not know
    made.image().write_bytes(gzip.compress(bytes(content)))


def _empty_file(made):
    made.image().write_bytes(b"")


def _no_gzip(made):
    made.image().write_text("no volume")


def _other_shape(made):
    made.write(np.zeros((6, 7, 9), np.uint8), made.labels())


def _flat_image(made):
    made.write(np.zeros((6, 7), np.float32), made.image())


def _layers_of_labels(made):
    made.write(np.zeros((*SHAPE, 3), np.uint8), made.labels())


def _nan_in_a_header(made):
    affine = np.diag([1.5, 2.0, 3.0, 1.0])
    affine[0, 3] = np.nan
    made.write(np.ones(SHAPE, np.uint8), made.labels(), affine)


def _flat_affine(made):
    affine = np.diag([1.5, 2.0, 3.0, 1.0])
    affine[:3, 1] = affine[:3, 0]
    made.write(np.ones(SHAPE, np.float32), made.image(), affine)


def _other_affine(made):
    made.write(np.ones(SHAPE, np.uint8), made.labels(), np.diag([1.5, 2.0, 3.5, 1.0]))


def _not_a_number(made):
    values = np.ones(SHAPE, np.float32)
    values[1, 2, 3] = np.nan
    values[0, 0, 0] = np.inf
    made.write(values, made.image())


def _unknown_label(made):
    made.write(np.full(SHAPE, 7, np.uint8), made.labels())


def _half_label(made):
    made.write(np.full(SHAPE, 0.5, np.float32), made.labels())


def _nan_label(made):
    made.write(np.full(SHAPE, np.nan, np.float32), made.labels())


def _no_foreground(made):
    for index in range(3):
        made.write(np.zeros(SHAPE, np.uint8), made.labels(index))


def _gone(made):
    made.labels().unlink()


def _leaves(made):
    made.describe(training=[{"image": "../other/x.nii.gz", "label": "labelsTr/case_0.nii.gz"}])


def _absolute(made):
    made.describe(training=[{"image": "imagesTr/case_0.nii.gz", "label": "/etc/passwd"}])


def _twice(made):
    pair = {"image": "imagesTr/case_0.nii.gz", "label": "labelsTr/case_0.nii.gz"}
    made.describe(training=[pair, pair])


READING = {
    "twice": (_twice, r"dataset\.json: training lists case_0 more than once"),
    "truncated": (_truncated, r"cannot read \S+imagesTr/case_0\.nii\.gz as NIfTI: ."),
    "flipped bytes": (_flipped_bytes, r"cannot read \S+imagesTr/case_0\.nii\.gz as NIfTI: ."),
    "broken header": (_broken_header, r"cannot read \S+imagesTr/case_0\.nii\.gz as NIfTI: ..*1234"),
    "empty": (_empty_file, r"cannot read \S+imagesTr/case_0\.nii\.gz as NIfTI: ."),
    "no gzip": (_no_gzip, r"cannot read \S+imagesTr/case_0\.nii\.gz as NIfTI: ."),
    "shape": (_other_shape, r"labelsTr/case_0\.nii\.gz: its shape \(6, 7, 9\) differs from its image's \(6, 7, 8\)"),
    "flat image": (_flat_image, r"case_0\.nii\.gz: it.* shape"),
    "layers of labels": (
        _layers_of_labels,
        r"cannot use \S+labelsTr/case_0\.nii\.gz as labels: it has 3 layers \(shape \(6, 7, 8, 3\)\), .*",
    ),
    "affine": (
        _other_affine,
        r"labelsTr/case_0\.nii\.gz: its affine differs from its image's by 1\.25 voxels at a corner of the volume "
        r"\(at most 0\.1\): \[1\.5 0 0 0; 0 2 0 0; 0 0 3\.5 0\], image \[1\.5 0 0 0; 0 2 0 0; 0 0 3 0\]",
    ),
    "NaN in a header": (
        _nan_in_a_header,
        r"labelsTr/case_0\.nii\.gz: its affine must be finite and invertible, got .*",
    ),
    "a flat affine": (_flat_affine, r"imagesTr/case_0\.nii\.gz: its affine must be finite and invertible, got .*"),
    "NaN": (_not_a_number, r"imagesTr/case_0\.nii\.gz: voxels must be finite, got 2 NaN or inf"),
    "label": (_unknown_label, r"labelsTr/case_0\.nii\.gz: label values must be in dataset\.json \[0, 1, 2\], got 7"),
    "half label": (_half_label, r"labelsTr/case_0\.nii\.gz: label values must .*, got 0\.5"),
    "NaN label": (_nan_label, r"labelsTr/case_0\.nii\.gz: label values must .*, got nan"),
    "no foreground": (_no_foreground, r"Task01_Made: split train has no foreground voxel in any case"),
    "missing file": (_gone, r"labelsTr/case_0\.nii\.gz not found, but dataset\.json lists it"),
    "leaves": (_leaves, r"dataset\.json: paths must stay inside the folder, got \.\./other/x\.nii\.gz"),
    "absolute": (_absolute, r"dataset\.json: paths must stay inside the folder, got /etc/passwd"),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("case", READING)
def test_what_is_wrong_in_a_case_is_told_in_one_line(made, case):
    corrupt, line = READING[case]
    corrupt(made)
    with pytest.raises(InputError, match=line) as caught:
        list(made.task.cases("train"))
    assert "\n" not in str(caught.value)


DESCRIPTIONS = {
    "no file": (None, r"dataset\.json not found; for the embedded suite run"),
    "not UTF-8": (b'{"name": "\xe9t\xe9"}', r"cannot read \S+dataset\.json as UTF-8 JSON: ."),
    "no JSON": (b'{"labels": ', r"cannot read \S+dataset\.json as UTF-8 JSON: ."),
    "a list": (b"[]", r"dataset\.json must be a JSON object, got list"),
    "no labels": (b'{"training": []}', r"dataset\.json must have the keys labels and training, got "),
    "no training": (b'{"labels": {"0": "b"}}', r"dataset\.json must have the keys labels and training, got "),
    "labels listed": (b'{"labels": ["b", "liver"], "training": []}', r"dataset\.json: labels must .*, got \['b'"),
    "label is a word": (
        b'{"labels": {"liver": 1}, "training": []}',
        r"dataset\.json: labels map names to values, .*: write \{\"1\": \"liver\"\}",
    ),
    "label too large": (b'{"labels": {"0": "b", "256": "x"}, "training": []}', r"dataset\.json: labels must .*256"),
    "label negative": (b'{"labels": {"0": "b", "-1": "x"}, "training": []}', r"dataset\.json: labels must .*-1"),
    "no classes": (b'{"labels": {}, "training": []}', r"dataset\.json: labels must .*, got \{\}"),
    "training no list": (b'{"labels": {"0": "b"}, "training": 3}', r"dataset\.json: training must list objects"),
    "a case is text": (b'{"labels": {"0": "b"}, "training": ["x"]}', r"dataset\.json: training must list objects"),
    "a path is no text": (
        b'{"labels": {"0": "b"}, "training": [{"image": 1, "label": 2}]}',
        r"dataset\.json: training must list objects",
    ),
    "no case": (b'{"labels": {"0": "b", "1": "x"}, "training": []}', r"dataset\.json: training lists no case"),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("case", DESCRIPTIONS)
def test_what_is_wrong_in_dataset_json_is_told_in_one_line(made, case):
    content, line = DESCRIPTIONS[case]
    path = made.folder / "dataset.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=line) as caught:
        list(made.task.cases("train"))
    assert "\n" not in str(caught.value)


@pytest.mark.bad_input
def test_the_digest_names_a_missing_file(made):
    made.image(2).unlink()
    with pytest.raises(InputError, match=r"case_2\.nii\.gz not found, but dataset\.json lists it"):
        made.task.digest()


def test_a_header_rounded_by_a_writer_is_no_other_affine(made):
    labels = np.asarray(nib.load(made.labels()).dataobj)
    made.write(labels, made.labels(), np.diag([*SPACING, 1.0]) + 5e-4 * np.eye(4, k=3))
    assert list(made.task.cases("train"))
