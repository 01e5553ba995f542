"""The command `race` in parts: settings that do not apply, how it ends, and what it says that it will take."""

import re
from contextlib import nullcontext
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from benchmark import race as module
from benchmark.data.tasks import opening
from benchmark.errors import InputError
from benchmark.race import _candidates_note, _finish, _preparation, _race, forecast_lines
from benchmark.racing import plan as plans
from benchmark.racing import runner as runners
from benchmark.racing.forecast import CandidateCost, RaceForecast
from benchmark.racing.halving import Measured, Race
from benchmark.racing.runner import StoppedError

RUNGS = {"eighth": 1, "quarter": 2, "half": 4, "full": 8}
STORED = {"settings": {"preparation": {"intensities": "target", "spacing": "target"}}}


@pytest.fixture
def command(monkeypatch):
    """Sets the overrides of the command line."""

    def given(*overrides):
        hydra = SimpleNamespace(overrides=SimpleNamespace(task=list(overrides)))
        monkeypatch.setattr(module, "HydraConfig", SimpleNamespace(get=lambda: hydra))

    return given


def ending(rung, error):
    """A runner whose race ends with an error before a rung."""

    def measure(name, names):
        if name == rung:
            raise error
        return Measured({}, dict.fromkeys(names, "no memory"))

    return SimpleNamespace(measure=measure)


def race(names="ab"):
    return Race(list(names), RUNGS, budget=0.45)


def test_a_race_that_stops_before_its_first_rung_is_an_error_and_an_interrupted_one_is_interrupted():
    message = "no rung of this race is finished (did a setting change?); nothing was written"
    with pytest.raises(InputError, match=re.escape(message)):
        _race(race(), ending("eighth", StoppedError()))
    with pytest.raises(KeyboardInterrupt):
        _race(race(), ending("eighth", KeyboardInterrupt()))


def test_a_race_of_a_stored_ranking_takes_over_its_preparation_unless_another_is_given(command):
    cfg = OmegaConf.create({"preparation": {"intensities": "source", "spacing": "source"}})
    command("ranking=x.json")
    assert _preparation(cfg, STORED) == {"intensities": "target", "spacing": "target"}
    command("preparation.spacing=source")
    assert _preparation(cfg, STORED) == {"intensities": "target", "spacing": "source"}
    assert _preparation(cfg, {"settings": {}}) == {"intensities": "source", "spacing": "source"}


def test_the_candidates_are_described_by_the_prior():
    every = _candidates_note(OmegaConf.create({"prior": "none"}), "x.json")
    assert every == "candidates: every source of x.json (prior=none)"
    assert "does not separate" in _candidates_note(OmegaConf.create({"prior": "ranking"}), "x.json")


@dataclass(frozen=True)
class Ended:
    """As much of an outcome as its end needs."""

    race: object
    stopped: str
    notes: tuple[str, ...] = ()
    checkpoint: str = ""


def test_what_is_not_registered_is_said(tmp_path, monkeypatch):
    from analysis.racing import page, tables
    from benchmark.racing import winner

    for place, name in ((page, "race_page"), (tables, "race_csv"), (tables, "race_json")):
        monkeypatch.setattr(place, name, lambda *arguments: "")
    said = []
    runner = SimpleNamespace(
        folder=tmp_path,
        checkpoint=tmp_path / "winner",
        plan_path=tmp_path / "plan.json",
        plan=SimpleNamespace(write=lambda path: None),
        say=said.append,
    )
    monkeypatch.setattr(winner, "save_leader", lambda *arguments, **settings: [])
    cfg = OmegaConf.create({"register": "best", "device": {"name": "cpu", "deterministic": False}})
    _finish(cfg, Ended(SimpleNamespace(leader="a"), "stop=true"), runner, None)
    assert said == ["not registered: the race is not finished"]


@pytest.mark.parametrize(
    ("register", "end"), [(None, "left as they are"), ("best", "left as they are; not registered")]
)
def test_a_race_in_which_every_candidate_fails_is_an_error_and_leaves_the_last_one_s_results(
    monkeypatch, compose_command, tmp_path, register, end
):
    shown = []
    monkeypatch.setattr(runners, "only_race", lambda folder: nullcontext())
    monkeypatch.setattr(opening, "prepared", lambda node, folder: None)
    monkeypatch.setattr(module, "_ranking", lambda cfg: ({"ranking": []}, []))
    monkeypatch.setattr(module, "_plan", lambda *arguments: SimpleNamespace(task={}, candidates={"a": {}, "b": {}}))
    monkeypatch.setattr(module, "_check_cases", lambda *arguments: None)
    monkeypatch.setattr(module, "_outcome", lambda race, runner, target, **facts: race)
    monkeypatch.setattr(module, "_show", lambda outcome, runner: shown.append(outcome.leader))
    runner = ending("", None)
    runner.trainer, runner.folder = SimpleNamespace(rungs=RUNGS), tmp_path / "race"
    runner.begin, runner.notes = lambda retry: None, list
    monkeypatch.setattr(module, "_runner", lambda *arguments: runner)
    cfg = OmegaConf.merge(compose_command("race"), {"register": register})
    with pytest.raises(InputError) as raised:
        module.run(cfg)
    assert str(raised.value).startswith("none of the 2 candidates could be fine-tuned, for the reasons above")
    assert str(raised.value).endswith(end)
    assert shown == [None]
    assert not runner.folder.exists()


def test_only_one_candidate_that_the_ranking_left_is_said_to_be_its_doing(command, monkeypatch):
    command()
    monkeypatch.setattr(plans, "with_validation", lambda node, **settings: node)
    cfg = OmegaConf.create({"ranking": "x.json", "prior": "ranking", "keep": 1, "validation_share": None, "folds": None,
                            "split_seed": 0, "fold": None, "preparation": {}, "trainer": {}})  # fmt: skip
    for names in ("ab", "a"):
        rows, nodes = [{"source": name} for name in names], {name: {} for name in names}
        stored = {"ranking": rows, "cannot_be_told_apart": list(names), "sources": nodes, "settings": {"task": {}}}
        module._plan(cfg, stored, notes := [])
        assert notes == (["left out by keep=1: b"] if names == "ab" else [module.ONE_CANDIDATE])


@pytest.mark.parametrize(
    ("trust", "sources", "count"), [(True, [{}], 1), (True, [{"trust": True}], 0), (False, [{}], 0)]
)
def test_trust_that_a_stored_ranking_was_made_without_is_said_to_have_no_effect(trust, sources, count):
    cfg = OmegaConf.create({"trust": trust, "ranking": "x.json"})
    notes = module._trust_note(cfg, {"sources": dict(enumerate(sources))})
    assert len(notes) == count
    assert all(note.startswith("trust=true has no effect: x.json was made without it") for note in notes)


def forecast(costs, untimed=()):
    return RaceForecast(race("abcdefghij"), 1, 6, costs, dict.fromkeys(untimed, "no file"))


def test_a_forecast_without_any_timed_candidate_says_that_it_is_unknown():
    *_, last = forecast_lines(forecast({}, "abcdefghij"), workers=2)
    assert last == "expected: time and disk are unknown, because no candidate could be timed"


def test_a_forecast_in_words():
    costs = {name: CandidateCost(60.0, 2**20, {}) for name in "abcdefghij"}
    steps, time, disk = forecast_lines(forecast(costs), workers=2)
    assert steps == (
        "expected: 29 to 36 of 80 steps, 36% to 45% of fine-tuning 10 candidates; rungs end at 1, 2, 4, 8 steps"
    )
    assert time.startswith("expected: 14 min 30 s to 18 min 00 s of training if 2 jobs can always run at once")
    assert disk.startswith("expected: disk: 10 MiB for training states")
    _, alone, _ = forecast_lines(forecast(costs), workers=1)
    assert alone.startswith("expected: 29 min 00 s to 36 min 00 s of training one job at a time, without reading")
