"""Names that a user's yaml may hold from an earlier release."""

import logging
from importlib import import_module

import pytest
from hydra.utils import get_class
from omegaconf import OmegaConf

from benchmark.jobs import former_names
from benchmark.jobs.former_names import FORMER, current_name, with_current_names


@pytest.mark.parametrize("former", FORMER)
def test_every_module_of_today_is_there(former):
    import_module(FORMER[former])
    assert FORMER[former] not in FORMER


def test_a_former_name_resolves_with_one_warning(caplog):
    former_names._warn.cache_clear()
    former = "benchmark.data.decathlon.DecathlonTask"
    cfg = OmegaConf.create({"task": {"_target_": former, "inner": [{"_target_": former}]}, "other": "${task.inner}"})
    OmegaConf.set_readonly(cfg, True)
    with caplog.at_level(logging.WARNING):
        with_current_names(cfg)
    assert get_class(cfg.task._target_).__name__ == "DecathlonTask"
    assert cfg.other[0]._target_ == cfg.task._target_ != former
    (record,) = caplog.records
    assert "benchmark.data.decathlon.DecathlonTask is now benchmark.data.tasks.msd_layout" in record.getMessage()


@pytest.mark.parametrize("former", ["benchmark.data.tasks.own.MsdTask", "benchmark.performance.scoring.Scoring"])
def test_a_class_that_moved_resolves(former):
    assert get_class(current_name(former)).__name__ == former.rpartition(".")[2]


def test_names_of_today_and_of_others_stay():
    cfg = OmegaConf.create({"a": {"_target_": "monai.networks.nets.UNet"}, "b": {"_target_": "benchmark.ccfv.CCFV"}})
    before = OmegaConf.to_container(cfg)
    assert OmegaConf.to_container(with_current_names(cfg)) == before


def test_a_command_takes_a_former_name(study, command_line):
    former = "target._target_=benchmark.data.synthetic.SyntheticTask"
    pair = ["source=scratch", "target=synthetic_ball", "experiment=synthetic", "metric=[logme]"]
    done = command_line("pretrain", "source=scratch", "experiment=synthetic", *study.overrides)
    assert done.code == 0, done.err
    for overrides in ([former], []):
        done = command_line("score", *pair, *overrides, *study.overrides)
        assert done.code == 0, done.err
    assert len(study.store().finished("score")) == 1  # the name is no other setting
