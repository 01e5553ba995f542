"""The sizes that headers promise are those of the prepared cases."""

import nibabel as nib
import numpy as np
import pytest

from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.tasks.msd import MsdTask
from benchmark.errors import InputError
from benchmark.ranking.header_sizes import median_size, prepared_sizes, read_headers
from tests.end_to_end.test_compatibility import write_task

VOLUMES, IMAGES = (20, 18, 14), (20, 18, 1)
SLICES = Preparation(transpose=(0, 1, 2))


@pytest.mark.parametrize(
    ("shape", "preparation"),
    [
        (VOLUMES, Preparation()),
        (VOLUMES, Preparation(spacing=(1.0, 0.5, 1.1))),
        (VOLUMES, Preparation(spacing=(1.0, 0.5, 1.1), transpose=(1, 0, 2))),
        (VOLUMES, Preparation(spacing=(0.5, 1.1), transpose=(0, 1, 2))),
        (VOLUMES, SLICES),
        (VOLUMES, Preparation(spacing=(1.0, 0.5, 1.1), orientation="SAL")),
        (IMAGES, Preparation(orientation="SAL")),
        (IMAGES, Preparation()),
        (IMAGES, SLICES),
    ],
)
def test_a_prepared_case_has_the_size(shape, preparation, tmp_path):
    task = MsdTask(write_task(tmp_path / "task", shape=shape, channels=1), test_share=0.0)
    sizes = prepared_sizes(read_headers(task, "train"), preparation)
    for size, case in zip(sizes, task.cases("train", preparation), strict=True):
        size.check()
        assert (size.name, size.shape) == (case.name, case.shape)
        assert size.spacing == pytest.approx(case.spacing)
    assert median_size(sizes).name == "case_1"


def test_a_spacing_that_leaves_no_voxel_is_refused_as_in_a_pass(tmp_path):
    task = MsdTask(write_task(tmp_path / "task", shape=VOLUMES, channels=1), test_share=0.0)
    preparation = Preparation(spacing=(1.0, 1.0, 100.0))
    message = "spacing must leave a voxel along each axis"
    with pytest.raises(InputError, match=message):
        prepared_sizes(read_headers(task, "train"), preparation)[0].check()
    with pytest.raises(InputError, match=message):
        _ = task.cases("train", preparation)[0]


@pytest.mark.parametrize(
    ("shape", "shift", "message"),
    [
        (VOLUMES, 0.11, r"case_1\.nii\.gz: its affine differs from its image's by 0\.11 voxels at a corner"),
        ((*VOLUMES, 2), 0.0, r"case_1\.nii\.gz as labels: it has 2 layers"),
        ((20, 18, 13), 0.0, r"case_1\.nii\.gz: its shape \(20, 18, 13\) differs from its image's \(20, 18, 14\)"),
    ],
)
def test_labels_that_do_not_meet_their_image_are_refused_as_when_they_are_read(shape, shift, message, tmp_path):
    task = MsdTask(write_task(tmp_path / "task", shape=VOLUMES, channels=1), test_share=0.0)
    labels = np.zeros(shape, np.uint8)
    affine = np.diag([0.8, 0.8, 2.5, 1.0])
    affine[0, 3] = shift * 0.8
    nib.save(nib.Nifti1Image(labels, affine), tmp_path / "task" / "labelsTr" / "case_1.nii.gz")
    with pytest.raises(InputError, match=message):
        read_headers(task, "train")
    with pytest.raises(InputError, match=message):
        _ = task.cases("train", Preparation())[1]


def test_a_small_shift_of_the_headers_is_known(tmp_path):
    task = MsdTask(write_task(tmp_path / "task", shape=VOLUMES, channels=1), test_share=0.0)
    path = tmp_path / "task" / "labelsTr" / "case_1.nii.gz"
    stored = nib.load(path)
    affine = stored.affine.copy()
    affine[0, 3] += 0.09 * 0.8
    nib.save(nib.Nifti1Image(np.asarray(stored.dataobj), affine), path)
    assert [case.checked.header_offset for case in read_headers(task, "train")] == [0.0, 0.09, 0.0]
