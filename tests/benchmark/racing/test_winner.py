"""The checkpoint of a winner: trained again as the race trains, and nnU-Net's results folder where one is possible."""

import errno
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmark.errors import InputError, SkipPair, WriteError
from benchmark.racing import winner as module
from benchmark.racing.halving import Decision, Race, Standing
from benchmark.racing.runner import Trained
from benchmark.racing.winner import _nnunet_folder, save_leader
from benchmark.sources.writers.nnunet import ResultsFolder

TARGET = SimpleNamespace(
    name="my liver",
    channel_names={"0": "CT", "1": "PET"},
    listed=lambda split: [SimpleNamespace(images=[Path("a_0000.nii.gz")])],
    names=lambda split: ["a", "b"],
)
MODEL = SimpleNamespace(arch=SimpleNamespace(dims=3))


def broken(error, cause=None):
    def write(*arguments, **settings):
        raise error from cause

    return write


def runner(folder):
    return SimpleNamespace(folder=folder, trainer=SimpleNamespace(mirroring=True))


@pytest.mark.parametrize("error", [InputError("its labels would be 1, not 2"), SkipPair("no plan has 2 channels")])
def test_an_export_that_fails_is_a_note(monkeypatch, tmp_path, error):
    monkeypatch.setattr(module, "write_results_folder", broken(error))
    assert _nnunet_folder(MODEL, runner(tmp_path), TARGET) == [f"no results folder of nnU-Net: {error}"]


@pytest.mark.parametrize(
    ("error", "cause"),
    [(WriteError("the disk is full"), None), (InputError("cannot write x"), OSError(errno.ENOSPC, "no space"))],
)
def test_a_full_disk_is_an_error(monkeypatch, tmp_path, error, cause):
    monkeypatch.setattr(module, "write_results_folder", broken(error, cause))
    with pytest.raises(InputError):
        _nnunet_folder(MODEL, runner(tmp_path), TARGET)


@pytest.mark.parametrize(("stated", "names"), [({"1": "PET", "0": "CT"}, ["CT", "PET"]), ({}, []), (None, [])])
def test_the_export_names_the_channels_of_the_task(monkeypatch, tmp_path, stated, names):
    asked = {}

    def write(model, folder, **settings):
        asked.update(settings)
        return ResultsFolder(folder)

    monkeypatch.setattr(module, "write_results_folder", write)
    facts = vars(TARGET) | {"channel_names": stated}
    _nnunet_folder(MODEL, runner(tmp_path), SimpleNamespace(**{k: v for k, v in facts.items() if v is not None}))
    assert asked["channel_names"] == names
    assert asked["cases"] == 2


class Network:
    """An architecture of one weight; the rest of what a winner's model needs."""

    dims = 3

    @staticmethod
    def build(*, channels, classes, seed):
        return torch.nn.Linear(1, 1, bias=False)


@dataclass(frozen=True)
class Opened:
    """A model whose weights and facts are looked at."""

    arch: object = Network
    weights: object = None
    channels: int = 1
    classes: int = 2
    labels: object = None
    preparation: object = None
    patch: object = None
    facts: object = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    head: bool = False


@pytest.fixture
def raced(monkeypatch, tmp_path):
    """A race that is finished up to step 4 of 8, what happened, and the models that were written."""
    events, written = [], []

    @contextmanager
    def settings(device, *, deterministic):
        events.append((device, deterministic))
        yield
        events.append("restored")

    class Trainer:
        rungs, steps, tune = {"half": 4, "full": 8}, 8, "all"

        def advance(self, model, target, preparation, *, rung, seed, device, folder):
            events.append((rung, seed, device))
            save(folder / "training.pt", self.rungs[rung])

        def trained_with(self, model, target, preparation):
            return preparation, (8, 8, 8)

    racing = SimpleNamespace(
        trained={("a", 0, "half"): Trained(4, 1.0, [], {"x": [0.5]}, "as stored", 0.0)},
        seeds=(0,),
        plan=SimpleNamespace(candidates={"a": {}}, preparation={}),
        state_folder=lambda name, seed: tmp_path / "state",
        states=tmp_path / "race" / "states",
        say=lambda line: None,
        store=None,
        trainer=Trainer(),
        checkpoint=tmp_path / "winner",
    )
    race = Race(["a"], {"half": 4, "full": 8}, budget=0.45)
    race.decisions.append(Decision("half", 4, [Standing("a", 0.5, 0.0, 0.0, 0.0)], 4))
    monkeypatch.setattr(module, "training_settings", settings)
    monkeypatch.setattr(module.RaceJob, "pair", lambda job, store: SimpleNamespace(model=Opened(), preparation=None))
    monkeypatch.setattr(module, "write_source", lambda model, folder: written.append(model))
    monkeypatch.setattr(module, "_nnunet_folder", lambda *arguments: [])
    target = SimpleNamespace(**vars(TARGET), channels=1, classes=2, labels={})
    save_leader_of = partial(save_leader, race, racing, target, device="cuda", deterministic=True)
    return SimpleNamespace(save=save_leader_of, events=events, written=written, state=tmp_path / "state")


def save(path, steps):
    """The weights after so many steps; their value is the number of steps."""
    path.parent.mkdir(exist_ok=True)
    torch.save({"network": {"weight": torch.full((1, 1), float(steps))}, "losses": [1.0] * steps}, path)


AGAIN = [("cuda", True), ("half", 0, "cuda"), "restored"]
LEFT = {
    "the state of the rung": ({"training.pt": 4}, []),
    "a state past the rung, and its weights": ({"training.pt": 6, "paused.pt": 4}, []),
    "a state past the rung": ({"training.pt": 6}, AGAIN),
    "nothing": ({}, AGAIN),
    "a damaged state": ({"training.pt": b"damaged"}, AGAIN),
}


@pytest.mark.parametrize("case", LEFT)
def test_the_checkpoint_is_that_of_the_rung_whose_dice_it_states(raced, case):
    files, events = LEFT[case]
    for name, steps in files.items():
        if isinstance(steps, bytes):
            raced.state.mkdir()
            (raced.state / name).write_bytes(steps)
        else:
            save(raced.state / name, steps)
    raced.save()
    (model,) = raced.written
    assert float(model.weights["weight"]) == model.facts["steps"] == 4
    assert model.facts["validation_dice"] == 0.5
    assert raced.events == events
    left = {path.name: len(torch.load(path)["losses"]) for path in raced.state.iterdir()}
    assert left == {"training.pt": files["training.pt"] if files.get("training.pt") == 6 else 4} | (
        {"paused.pt": 4} if "paused.pt" in files else {}
    )
