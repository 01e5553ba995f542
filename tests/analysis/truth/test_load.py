"""The Dice of each case as the store holds it, another patient's under a `tune` of their own, and at each rung."""

import json
import math

from analysis.truth.load import VALIDATION_COLUMNS, stored_dice
from benchmark.tracking.records import Row
from benchmark.training.dice import mean_dice

STORED = {
    "test": {"case_0": {"organ": 0.5}, "case_1": {"organ": None}},
    "external": {"other_0": {"organ": 0.25}},
    "validation": {"half": {"seen_0": {"organ": 0.75}}},
}


class OneFile:
    """A store whose every run has the same file of Dice."""

    def __init__(self, stored):
        self.stored = stored

    def download(self, run, name, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(self.stored), encoding="utf-8")
        return folder / name


def rows(**tags):
    params = {"source": "a", "target": "liver", "seed": "1", "tune": "all"}
    return [Row("truth", "key", "", params=params, tags=tags, run="run")]


def test_another_patients_cases_have_a_tune_of_their_own_and_validation_cases_are_apart():
    cases = stored_dice(OneFile(STORED), rows()).cases
    assert cases[["case", "tune", "seed"]].to_numpy().tolist() == [
        ["case_0", "all", 1], ["case_1", "all", 1], ["other_0", "all, other patient", 1],
    ]  # fmt: skip
    assert cases["dice"].fillna(-1).tolist() == [0.5, -1, 0.25]


def test_runs_without_another_patient_or_without_training_have_fewer_rows():
    assert stored_dice(OneFile({"test": STORED["test"]}), rows()).cases["tune"].tolist() == ["all", "all"]
    assert stored_dice(OneFile(STORED), rows(skipped="no class in common")).cases.empty


def test_a_validation_case_has_its_contribution_to_the_mean_dice_at_each_rung():
    """By hand: the organ has a mean of 0.625 over two cases, the tumour 0.25 in one: contributions of 2 / 2 classes."""
    seen = {"seen_0": {"organ": 0.75, "tumour": 0.25}, "seen_1": {"organ": 0.5, "tumour": None}}
    stored = STORED | {"validation": {"half": seen, "full": {"seen_0": {"organ": None, "tumour": float("nan")}}}}
    validation = stored_dice(OneFile(stored), rows()).validation
    assert list(validation.columns) == list(VALIDATION_COLUMNS)
    assert validation.drop(columns="dice").to_numpy().tolist() == [
        ["a", "liver", 1, "all", "half", "seen_0"],
        ["a", "liver", 1, "all", "half", "seen_1"],
        ["a", "liver", 1, "all", "full", "seen_0"],
    ]
    assert validation["dice"].fillna(-1).tolist() == [0.75 / 2 + 0.25, 0.5 / 2, -1]
    assert validation["dice"][:2].mean() == mean_dice([[0.75, 0.25], [0.5, math.nan]])


def test_runs_that_measured_no_validation_case_give_an_empty_frame():
    validation = stored_dice(OneFile({"test": STORED["test"]}), rows()).validation
    assert validation.empty
    assert list(validation.columns) == list(VALIDATION_COLUMNS)
