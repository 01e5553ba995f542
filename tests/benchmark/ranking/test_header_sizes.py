"""The sizes that headers promise are those of the prepared cases."""

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
