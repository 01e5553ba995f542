"""The command that the jobs of a race run: a candidate or a rung that is not there."""

import pytest

from benchmark.racing.plan import RacePlan

MONAI = {
    "_target_": "benchmark.training.monai.MonaiTrainer",
    "tune": "all",
    "budget": {"_target_": "benchmark.sources.pretrained.Budget", "steps": 8},
}
BAD = {
    "rung=third": "rung must be one of eighth, quarter, half, full, got third",
    "candidate=7": "candidate must be a whole number from 0 to 1, got 7",
    "candidate=-1": "candidate must be a whole number from 0 to 1, got -1",
}


@pytest.mark.parametrize("override", BAD)
def test_a_candidate_or_a_rung_that_is_not_there_is_one_line(command_line, place, tmp_path, override):
    plan = tmp_path / "plan.json"
    RacePlan({}, {"a": {}, "b": {}}, {}, MONAI).write(plan)
    done = command_line("advance", f"race={plan}", "rung=full", *place.overrides, override)
    assert done.code == 2
    assert done.err == f"error: {BAD[override]}\n"
