"""The runs that check a study: which are loaded, and how repeats take the place of their sources."""

import math
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from analysis.truth.further_runs import further_rows, longer_frame, with_repeats
from benchmark.jobs.suite_settings import STAGE_OF
from benchmark.tracking.records import Row

CFG = OmegaConf.create(
    {
        "suite": {
            "sources": ["a", "scratch"],
            "targets": {"liver": "", "lung": ""},
            "seeds": [0, 1],
            "longer": {"factor": 4, "seeds": [0]},
            "repeated": {"sources": ["a"], "seeds": [1, 2]},
        }
    }
)


def truth(source, target="liver", seed=0, *, steps=10, dice=0.5, variant=""):
    params = {"source": source, "target": target, "seed": str(seed), "tune": "all", "trainer.budget.steps": str(steps)}
    tags = {"variant": variant} if variant else {}
    return Row("truth", f"truth {source} {target} {seed} {steps} {variant}", "", params, {"dice": dice}, tags)


def score(source, target="liver"):
    params = {"source": source, "target": target, "metrics": "m"}
    return Row("score", f"score {source} {target}", "", params, {"m": 1.0})


def pretrain(source):
    return Row("pretrain", f"pretrain {source}", "", {"source": source, "seed": "0"})


def store(*rows):
    return SimpleNamespace(finished=lambda stage: {row.key: row for row in rows if row.stage == stage})


LONGER = truth("scratch", steps=40, variant="longer")
REPEAT = [pretrain("a_seed1"), truth("a_seed1"), score("a_seed1")]
OTHERS = [truth("scratch"), truth("scratch", variant="tuned/head"), truth("a"), score("a"), pretrain("a"),
          truth("scratch", "spleen", steps=40, variant="longer"), truth("scratch", seed=5, steps=40, variant="longer"),
          truth("b_seed1"), truth("a_seed3"), truth("a_seed1", "spleen"), truth("a_seed1", seed=3),
          truth("a_seed1", variant="longer")]  # fmt: skip


def keys_of(found):
    return {kind: [row.key for row in rows] for kind, rows in found.items()}


def test_without_keys_the_runs_of_the_suite_are_found_by_tag_and_name():
    assert keys_of(further_rows(store(LONGER, *REPEAT, *OTHERS), CFG)) == {
        "longer": [LONGER.key],
        "repeated_pretrain": [REPEAT[0].key],
        "repeated_truth": [REPEAT[1].key],
        "repeated_score": [REPEAT[2].key],
    }


def test_keys_choose_the_runs():
    rows = store(LONGER, *REPEAT, *OTHERS)
    keys = {"truth": ["truth a liver 0 10 "], "longer": [LONGER.key, "unfinished"], "repeated_score": [REPEAT[2].key]}
    found = {"longer": [LONGER.key], "repeated_pretrain": [], "repeated_truth": [], "repeated_score": [REPEAT[2].key]}
    assert keys_of(further_rows(rows, CFG, keys)) == found


def test_a_suite_without_further_training_has_none():
    plain = OmegaConf.create({"suite": {**CFG.suite, "longer": None, "repeated": None}})
    assert keys_of(further_rows(store(LONGER, *REPEAT), plain)) == {kind: [] for kind in STAGE_OF}
    assert keys_of(further_rows(store(LONGER, *REPEAT), CFG, {"truth": [REPEAT[1].key]})) == {
        kind: [] for kind in STAGE_OF
    }


def test_longer_training_is_a_multiple_of_the_study_s_steps():
    frame = longer_frame([LONGER, truth("scratch", "lung", steps=10)], [truth("scratch"), truth("scratch", "lung")])
    assert frame.values.tolist() == [["scratch", "liver", 0, "all", 0.5, 4.0]]
    assert longer_frame([], [truth("scratch")]).empty


def test_epochs_count_as_steps_do():
    def epochs(number):
        row = truth("scratch")
        row.params["trainer.budget.epochs"] = row.params.pop("trainer.budget.steps").replace("10", number)
        return row

    assert longer_frame([epochs("6")], [epochs("2")])["factor"].tolist() == [3.0]


def test_a_run_without_recorded_steps_is_left_out():
    row = truth("scratch")
    row.params.pop("trainer.budget.steps")
    assert longer_frame([row], [truth("scratch")]).empty


@pytest.fixture
def rows():
    return {"pretrain": [pretrain("a"), pretrain("scratch")], "truth": [truth("a"), truth("scratch")],
            "score": [score("a"), score("scratch")]}  # fmt: skip


def further(*chosen):
    return {kind: [row for row in chosen if row.stage == stage] for kind, stage in STAGE_OF.items() if kind != "longer"}


def test_a_repeat_has_the_name_of_its_source(rows):
    repeat = with_repeats(rows, further(*REPEAT), {"a": "a_seed1"})
    assert repeat.replaced == ("a",)
    assert repeat.reasons == ()
    assert {stage: sorted(row.key for row in own) for stage, own in repeat.rows.items()} == {
        "pretrain": ["pretrain a_seed1", "pretrain scratch"],
        "truth": [REPEAT[1].key, truth("scratch").key],
        "score": ["score a_seed1 liver", "score scratch liver"],
    }
    assert {row.params["source"] for own in repeat.rows.values() for row in own} == {"a", "scratch"}


@pytest.mark.parametrize("stage", ["pretrain", "truth", "score"])
def test_an_incomplete_repeat_replaces_nothing(rows, stage):
    repeat = with_repeats(rows, further(*(row for row in REPEAT if row.stage != stage)), {"a": "a_seed1"})
    assert repeat.replaced == ()
    assert repeat.reasons == (f"a_seed1 lacks runs of {stage}.",)
    assert {name: list(own) for name, own in repeat.rows.items()} == rows


def test_a_repeat_needs_every_seed_and_target(rows):
    for further_row in (truth("a", seed=1), truth("a", "lung")):
        repeat = with_repeats({**rows, "truth": [*rows["truth"], further_row]}, further(*REPEAT), {"a": "a_seed1"})
        assert repeat.reasons == ("a_seed1 lacks runs of truth.",)


def test_a_skipped_longer_training_has_no_dice():
    frame = longer_frame([truth("scratch", steps=40, dice=math.nan)], [truth("scratch")])
    assert math.isnan(frame["dice"].iloc[0])


def test_a_source_that_the_study_lacks_is_not_repeated():
    rows = {"pretrain": [pretrain("scratch")], "truth": [truth("scratch")], "score": [score("scratch")]}
    found = with_repeats(rows, further(*REPEAT), {"a": "a_seed1"})
    assert (found.replaced, found.reasons) == ((), ())
    assert found.rows == rows
