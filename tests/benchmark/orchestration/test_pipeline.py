"""The overrides of a bench that reach its jobs."""

import sys

import pytest

from benchmark.jobs.cli import run_command
from benchmark.orchestration.pipeline import Bench


@pytest.fixture
def overrides(place, monkeypatch):
    """Stage -> the overrides of its jobs, of a bench with a command line."""

    def make(*arguments: str) -> dict[str, list[str]]:
        made = []
        monkeypatch.setattr(sys, "argv", ["bench", *arguments, *place.overrides])
        run_command("bench", lambda cfg: made.append(Bench(cfg, place.folder / "bench").overrides()), limited=False)
        return made[0]

    return make


def test_settings_of_suite_and_trainer_reach_the_jobs(overrides):
    given = ["suite.seeds=[0]", "~suite.targets.msd_liver", "trainer=monai", "trainer.tune=last", "monai.steps=3"]
    jobs = overrides("experiment=paper", *given)
    for stage in ("pretrain", "truth", "score", "correlate"):
        assert [item for item in jobs[stage] if item in given] == given
    assert [item for item in jobs["prepare"] if item in given] == given[:2]  # which takes no experiment


def test_what_a_stage_is_given_again_comes_once_and_last(overrides):
    jobs = overrides("trainer=nnunet", "suite.seeds=[0]", "overrides.truth=['trainer=monai']",
                     "overrides.all=['suite.seeds=[0]']")  # fmt: skip
    assert [item for item in jobs["truth"] if item.startswith("trainer=")] == ["trainer=monai"]
    assert [item for item in jobs["score"] if item.startswith("trainer=")] == ["trainer=nnunet"]
    assert jobs["truth"].count("suite.seeds=[0]") == 1
