"""What a race will take: steps by the number of cases, and time and disk from the candidates that could be timed."""

import math
from types import SimpleNamespace

import pytest
from torch import nn

from benchmark.errors import SkipPair
from benchmark.racing import forecast as module
from benchmark.racing.forecast import CandidateCost, RaceForecast, forecast_race
from benchmark.racing.halving import Race
from benchmark.racing.plan import RacePlan

RUNGS = {"eighth": 1, "quarter": 2, "half": 4, "full": 8}
NAMES = list("abcdefghij")


def forecast(*, cases=6, costs=None, untimed=None, seeds=1, names=NAMES):
    return RaceForecast(Race(names, RUNGS, budget=0.45), seeds, cases, costs or {}, untimed or {})


def test_the_budget_is_spent_only_with_cases_enough_for_an_interval():
    """By hand: 29 of 80 steps by halving alone, and 36 are 45%."""
    assert forecast(cases=5).steps == (29, 36)
    assert forecast(cases=4).steps == (29, 29)
    assert forecast(cases=5, seeds=2).steps == (58, 72)
    assert forecast(cases=5, names=["a", "b"]).steps == (9, 9)  # halving two takes more than the budget


def test_a_candidate_that_could_not_be_timed_counts_as_the_mean_of_the_others():
    costs = {"a": CandidateCost(1.0, 100, {"x": 7}), "b": CandidateCost(3.0, 300, {"x": 7, "y": 2})}
    half = forecast(names=["a", "b", "c"], costs=costs, untimed={"c": "no file"}, seeds=2)
    assert half.state_bytes == 200 * 3 * 2
    assert half.seconds(10) == 20
    assert half.prepared_bytes == 9


def test_without_any_timed_candidate_time_and_disk_are_unknown():
    nothing = forecast(untimed=dict.fromkeys(NAMES, "no file"))
    assert math.isnan(nothing.state_bytes)
    assert math.isnan(nothing.seconds(10))


@pytest.mark.parametrize(("moments", "copies"), [(1, 3), (2, 4)])
def test_a_training_keeps_its_weights_what_the_optimiser_keeps_of_each_and_those_of_the_last_rung(
    monkeypatch, tmp_path, moments, copies
):
    network = nn.Linear(10, 10, bias=False)
    arch = SimpleNamespace(build=lambda **settings: network, fit=lambda window: window)
    pair = SimpleNamespace(model=SimpleNamespace(arch=arch, patch=None), preparation=None)

    def paired(model, target, **preparation):
        if model == "b":
            raise SkipPair("no channel in common")
        return pair

    monkeypatch.setattr(module, "open_model", lambda node, store, output: node["name"])
    monkeypatch.setattr(module, "paired", paired)
    monkeypatch.setattr(module, "step_seconds", lambda *arguments, **settings: 0.5)
    target = SimpleNamespace(channels=1, classes=2, names=lambda split: ["x"] * 4,
                             cases=lambda split, preparation: SimpleNamespace(requests=[]))  # fmt: skip
    trainer = SimpleNamespace(steps=8, moments=moments)
    plan = RacePlan({}, {"a": {"name": "a"}, "b": {"name": "b"}}, {}, {})
    done = forecast_race(
        plan, Race(["a", "b"], RUNGS, 0.45), target, trainer, None, seeds=1, device="cpu", output=tmp_path
    )
    assert done.costs["a"].state_bytes == copies * 100 * 4
    assert done.untimed == {"b": "no channel in common"}
    assert done.cases == 4
