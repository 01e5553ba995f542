"""The checkpoint of a winner: trained again as the race trains, and nnU-Net's results folder where one is possible."""

import errno
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

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


def test_a_winner_whose_state_is_gone_is_trained_with_the_settings_of_the_device(monkeypatch, tmp_path):
    events = []

    @contextmanager
    def settings(device, *, deterministic):
        events.append((device, deterministic))
        yield
        events.append("restored")

    class Trainer:
        def advance(self, model, target, preparation, *, rung, seed, device, folder):
            events.append((rung, seed, device))

    racing = SimpleNamespace(
        trained={("a", 0, "full"): Trained(8, 1.0, [], {"x": [0.5]}, "as stored", 0.0)},
        seeds=(0,),
        plan=SimpleNamespace(candidates={"a": {}}, preparation={}),
        state_folder=lambda name, seed: tmp_path / "gone",
        states=tmp_path / "race" / "states",
        say=lambda line: None,
        store=None,
        trainer=Trainer(),
        checkpoint=tmp_path / "winner",
    )
    race = Race(["a"], {"full": 8}, budget=0.45)
    race.decisions.append(Decision("full", 8, [Standing("a", 0.5, 0.0, 0.0, 0.0)], 8))
    monkeypatch.setattr(module, "training_settings", settings)
    monkeypatch.setattr(module.RaceJob, "pair", lambda job, store: SimpleNamespace(model=None, preparation=None))
    monkeypatch.setattr(module, "fine_tuned_model", lambda *arguments, **facts: MODEL)
    monkeypatch.setattr(module, "write_source", lambda model, folder: None)
    monkeypatch.setattr(module, "_nnunet_folder", lambda *arguments: [])
    save_leader(race, racing, TARGET, device="cuda", deterministic=True)
    assert events == [("cuda", True), ("full", 0, "cuda"), "restored"]
