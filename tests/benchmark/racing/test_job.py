"""One job of a race: a damaged state is trained anew, not held against the candidate."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from benchmark.racing import job as module
from benchmark.racing.job import TRAINING, RaceJob
from benchmark.sources.weights.match import Transfer
from benchmark.training.resume import CorruptStateError
from benchmark.training.trainer import PartialTraining, Rung


class Draft:
    """What a job logs."""

    def __init__(self):
        self.tags, self.files = {}, []

    def describe(self, *arguments):
        pass

    def log(self, *, tags=None, metrics=None, params=None):
        self.tags |= tags or {}

    def curve(self, name, values):
        pass

    def json(self, content, name):
        self.files.append(name)


class Trainer:
    """Finds so many damaged states before it trains."""

    def __init__(self, damaged):
        self.damaged = damaged

    def advance(self, *arguments, **settings):
        if self.damaged:
            self.damaged -= 1
            raise CorruptStateError("corrupt training checkpoint; deleted")
        return PartialTraining([1.0], Transfer((), (), ()), Rung(1, {"x": [0.5]}, 1.0))


@pytest.fixture
def job(monkeypatch, tmp_path):
    network = SimpleNamespace(arch=SimpleNamespace(network=None), notes=())
    pair = SimpleNamespace(model=network, preparation=SimpleNamespace(spacing=None))
    monkeypatch.setattr(module, "attempt", lambda *arguments, **settings: nullcontext())
    monkeypatch.setattr(module, "describe_network", lambda network: None)
    monkeypatch.setattr(RaceJob, "pair", lambda job, store: pair)
    target = SimpleNamespace(name="mine", digest=lambda: "", folder=tmp_path)
    return RaceJob("a", {}, target, {}, "eighth", 0, "cpu", tmp_path / "state", tmp_path)


@pytest.mark.parametrize(("damaged", "reason"), [(0, ""), (1, ""), (2, "corrupt training checkpoint; deleted")])
def test_a_damaged_state_is_no_failure_of_the_candidate(job, damaged, reason):
    draft = Draft()
    assert job.run(Trainer(damaged), None, draft, report=lambda step, loss: None) == reason
    assert (TRAINING in draft.files) == (not reason)
    assert draft.tags.get("skipped", "") == reason
