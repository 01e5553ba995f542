"""What a source of the suite knows of itself."""

import pytest
from hydra.utils import instantiate

from benchmark.errors import InputError
from benchmark.sources.pretrained import SCRATCH_CLASSES, Budget


def test_a_source_has_its_task_s_classes(compose_command, prepared):
    cfg = compose_command("pretrain", "source=synthetic_ball", f"data_dir={prepared}")
    source = instantiate(cfg.source)
    assert source.labels == {0: "background", 1: "ball"}
    assert source.classes == 2
    assert (source.length, source.budget.steps) == ("long", 4)


def test_a_source_from_scratch_has_none(compose_command):
    source = instantiate(compose_command("pretrain", "source=scratch").source)
    assert source.task is None
    assert source.labels == {}
    assert source.classes == SCRATCH_CLASSES
    assert source.budget.steps == 0


def test_a_length_is_a_number_of_steps(compose_command):
    for length, steps in (("scratch", 0), ("short", 100), ("medium", 300), ("long", 800)):
        cfg = compose_command("pretrain", "source=liver_unet", f"source.length={length}")
        assert cfg.source.budget.steps == steps


@pytest.mark.bad_input
def test_augment_that_is_no_truth_value_is_refused():
    with pytest.raises(InputError, match="`augment` of a budget must be true or false, got 'off'"):
        Budget(steps=1, augment="off")
