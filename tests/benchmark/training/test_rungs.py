"""Validation cases that are measured during a training: when, at what cost, and without a trace in the training."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from benchmark.sources.pretrained import Budget
from benchmark.training import rungs
from benchmark.training.loop import train
from benchmark.training.resume import CorruptStateError, Keeper
from benchmark.training.rungs import RungFile, RungRecorder, rung_steps
from benchmark.training.trainer import RUNGS, Rung

BUDGET = Budget(steps=8, batch=2, patch=(8, 8, 8), lr=1e-2)
PLANNED = {"eighth": 1, "quarter": 2, "half": 4, "full": 8}


class StoppedError(Exception):
    """Stands for a kill."""


class Clock:
    """A clock that only `spend` advances."""

    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now

    def spend(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(rungs, "time", SimpleNamespace(perf_counter=clock.perf_counter))
    return clock


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.BatchNorm3d(4), nn.Dropout(0.3), nn.Conv3d(4, 3, 1))


def probe(trained: nn.Module, seen: list[bool] | None = None):
    """Measures the network on a fixed image, and draws random numbers as no measurement should."""

    def measure() -> dict[str, list[float]]:
        torch.rand(7)
        torch.manual_seed(99)
        if seen is not None:
            seen.append(any(module.training for module in trained.modules()))
        with torch.inference_mode():
            return {"a": [float(trained(torch.ones(1, 1, 8, 8, 8)).sum()), math.nan]}

    return measure


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(600, [75, 150, 300, 600]), (100, [13, 25, 50, 100]), (3, [1, 1, 2, 3]), (1, [1, 1, 1, 1]), (0, [0, 0, 0, 0])],
)
def test_a_rung_ends_at_its_share_of_the_steps_rounded_up(steps, expected):
    assert rung_steps(steps) == dict(zip(RUNGS, expected, strict=True))


def test_measuring_changes_no_bit_of_the_training(cases):
    plain, measured, modes = network(), network(), []
    before = torch.get_rng_state()
    expected = train(plain, cases, budget=BUDGET, seed=3)
    recorder = RungRecorder(rung_steps(BUDGET.steps), probe(measured, modes))
    training = []
    losses = train(
        measured, cases, budget=BUDGET, seed=3, between=recorder,
        report=lambda step, loss: training.append(all(module.training for module in measured.modules())),
    )  # fmt: skip
    assert losses == expected
    assert all(
        torch.equal(a, b) for a, b in zip(plain.state_dict().values(), measured.state_dict().values(), strict=True)
    )
    assert torch.equal(before, torch.get_rng_state())
    assert modes == [False] * 4  # measured in evaluation mode
    assert training == [True] * BUDGET.steps
    assert not measured.training
    assert {name: rung.steps for name, rung in recorder.rungs.items()} == PLANNED
    values = [rung.dice["a"][0] for rung in recorder.rungs.values()]
    assert len(set(values)) == 4
    assert values[-1] == probe(measured)()["a"][0]  # the last rung is that of the final weights


@pytest.mark.parametrize("stop", [2, 4, 5, 8])
def test_a_stopped_training_keeps_its_rungs(cases, tmp_path, stop):
    whole = network()
    expected = RungRecorder(PLANNED, probe(whole))
    train(whole, cases, budget=BUDGET, seed=3, between=expected)

    def report(step, loss):
        if step == stop:
            raise StoppedError

    path = tmp_path / "training.pt"
    killed = network()
    with pytest.raises(StoppedError):
        train(killed, cases, budget=BUDGET, seed=3, keeper=Keeper(path, every=0), report=report,
              between=RungRecorder(PLANNED, probe(killed)))  # fmt: skip
    resumed, modes = network(), []
    recorder = RungRecorder(PLANNED, probe(resumed, modes))
    train(resumed, cases, budget=BUDGET, seed=3, keeper=Keeper(path, every=0), between=recorder)
    assert len(modes) == sum(step > stop for step in PLANNED.values())  # none before was measured again
    assert list(recorder.rungs) == list(RUNGS)
    for name, rung in recorder.rungs.items():
        assert (rung.steps, rung.dice["a"][0]) == (PLANNED[name], expected.rungs[name].dice["a"][0])
        assert math.isnan(rung.dice["a"][1])


def test_a_rung_costs_its_steps_and_its_own_measurement(clock):
    recorder = RungRecorder({"eighth": 1, "half": 2}, lambda: clock.spend(10.0) or {"a": [0.5]})
    clock.spend(1000.0)  # before the training
    recorder.start("")
    clock.spend(1.0)
    recorder.after(1)
    clock.spend(2.0)
    recorder.after(2)
    assert recorder.rungs == {"eighth": Rung(1, {"a": [0.5]}, 11.0), "half": Rung(2, {"a": [0.5]}, 13.0)}


def test_seconds_are_summed_over_resumes(clock):
    planned = {"eighth": 1, "full": 3}
    first = RungRecorder(planned, lambda: clock.spend(10.0) or {"a": [0.25, math.nan]})
    first.start("")
    clock.spend(1.0)
    first.after(1)
    clock.spend(2.0)
    saved = first.state()
    clock.spend(500.0)  # lost, or spent waiting
    second = RungRecorder(planned, lambda: clock.spend(20.0) or {"a": [0.75, 1.0]})
    second.start(saved)
    clock.spend(4.0)
    second.after(3)
    assert second.rungs["eighth"].seconds == 11.0
    assert second.rungs["eighth"].dice["a"][0] == 0.25
    assert second.rungs["full"] == Rung(3, {"a": [0.75, 1.0]}, 27.0)


def test_rungs_with_the_same_step_are_measured_once(cases):
    trained, modes = network(), []
    recorder = RungRecorder(rung_steps(2), probe(trained, modes))
    train(trained, cases, budget=Budget(steps=2, batch=2, patch=(8, 8, 8)), seed=0, between=recorder)
    assert len(modes) == 2
    assert recorder.rungs["eighth"] is recorder.rungs["half"]
    assert recorder.rungs["full"].steps == 2


def test_a_training_without_steps_is_measured_as_it_is(cases):
    trained = network()
    recorder = RungRecorder(rung_steps(0), probe(trained))
    assert train(trained, cases, budget=Budget(steps=0, patch=(8, 8, 8)), seed=0, between=recorder) == []
    assert recorder.rungs["full"].dice["a"][0] == probe(trained.eval())()["a"][0]


@pytest.mark.parametrize("content", ["", "[1]", '{"full": 1}', '{"full": {"colour": 1}}'])
def test_a_damaged_file_of_rungs_is_deleted_so_that_they_are_measured_again(tmp_path, content):
    file = RungFile(tmp_path / "rungs.json")
    file.path.write_text(content, encoding="utf-8")
    with pytest.raises(CorruptStateError, match=r"corrupt list of measured rungs .*rungs\.json \(.+\); deleted"):
        file.read()
    assert file.read() == {}
    file.write(measured := {"full": Rung(8, {"a": [0.5]}, 2.0, 1.0)})
    assert file.read() == measured
