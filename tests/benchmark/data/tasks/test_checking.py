"""All files of a task's cases are read once, and every broken case is reported."""

import json

import numpy as np
import pytest

from benchmark.data.tasks.checking import check_cases, header_note
from benchmark.data.tasks.msd import MsdTask
from benchmark.errors import CaseError, InputError
from tests.benchmark.data.conftest import SPACING, volume, write


@pytest.fixture
def check(msd, tmp_path):
    """Checks all labelled cases of the folder."""
    return lambda **more: check_cases(MsdTask(msd, test_share=0.0), "train", folder=tmp_path / "checked", **more)


@pytest.fixture
def read(monkeypatch):
    """The names of the cases that are read."""
    names = []
    whole = MsdTask.stored_case
    monkeypatch.setattr(MsdTask, "stored_case", lambda task, files: names.append(files.name) or whole(task, files))
    return names


def test_a_sound_case_is_read_once_and_a_mended_one_again(msd, check, read):
    check()
    assert read == [f"spleen_{index}" for index in range(5)]
    check()
    assert len(read) == 5
    image, _ = volume(7)
    write(msd / "imagesTr/spleen_3.nii.gz", image[0])
    check()
    assert read[5:] == ["spleen_3"]


@pytest.mark.bad_input
def test_every_broken_case_is_reported(msd, check, caplog):
    image = msd / "imagesTr/spleen_2.nii.gz"
    image.write_bytes(image.read_bytes()[:-20])  # a truncated gz shows at its end only
    _, labels = volume(4)
    write(msd / "labelsTr/spleen_4.nii.gz", np.full_like(labels, 9))
    with pytest.raises(CaseError) as error:
        check()
    assert str(error.value).startswith(f"cannot read {image} as NIfTI: ")
    assert str(error.value).endswith(" (1 further broken case: spleen_4)")
    assert "label values must be in dataset.json" in caplog.text
    check(count=2)
    with pytest.raises(CaseError):
        check()


@pytest.mark.bad_input
def test_cases_without_any_foreground_are_refused(msd, check, read):
    for index in range(5):
        _, labels = volume(index)
        write(msd / f"labelsTr/spleen_{index}.nii.gz", np.zeros_like(labels))
    for _ in range(2):  # read, and remembered
        with pytest.raises(InputError, match="has no foreground voxel in any case"):
            check()
    assert len(read) == 5


def test_headers_that_differ_a_little_are_one_note(msd, check):
    assert header_note(check()) is None
    for index, moved in ((1, 0.05), (2, 0.09), (3, 1e-4)):  # voxels along x
        affine = np.diag([*SPACING, 1.0])
        affine[0, 3] = moved * SPACING[0]
        write(msd / f"labelsTr/spleen_{index}.nii.gz", volume(index)[1], affine)
    for _ in range(2):  # read, and remembered
        assert header_note(check()) == (
            "the headers of image and labels differ by up to 0.09 voxels at a corner in 2 of 5 cases, such as "
            "spleen_2; the image's is used"
        )


def test_the_digest_of_a_case_is_its_own(msd):
    before = MsdTask(msd, test_share=0.0).case_digests("train")
    assert len(set(before.values())) == 5
    path = msd / "dataset.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"training": content["training"][:4], "note": "of another day"}))
    fewer = MsdTask(msd, test_share=0.0).case_digests("train")
    assert fewer == {name: before[name] for name in fewer}
    path.write_text(json.dumps(content | {"labels": {"0": "background", "1": "spleen", "2": "cyst", "3": "vein"}}))
    assert not set(MsdTask(msd, test_share=0.0).case_digests("train").values()) & set(before.values())


def test_an_image_and_labels_that_change_places_are_another_case(msd):
    before = MsdTask(msd, test_share=0.0).case_digests("train")["spleen_0"]
    image, labels = msd / "imagesTr/spleen_0.nii.gz", msd / "labelsTr/spleen_0.nii.gz"
    one, other = image.read_bytes(), labels.read_bytes()
    image.write_bytes(other)
    labels.write_bytes(one)
    assert MsdTask(msd, test_share=0.0).case_digests("train")["spleen_0"] != before
