"""The Dice of each test case as the store holds it, those of another patient under a `tune` of their own."""

import json

from analysis.truth.load import stored_cases
from benchmark.tracking.records import Row

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


def test_another_patients_cases_have_a_tune_of_their_own_and_validation_cases_are_not_read():
    cases = stored_cases(OneFile(STORED), rows())
    assert cases[["case", "tune", "seed"]].to_numpy().tolist() == [
        ["case_0", "all", 1], ["case_1", "all", 1], ["other_0", "all, other patient", 1],
    ]  # fmt: skip
    assert cases["dice"].fillna(-1).tolist() == [0.5, -1, 0.25]


def test_runs_without_another_patient_or_without_training_have_fewer_rows():
    assert stored_cases(OneFile({"test": STORED["test"]}), rows())["tune"].tolist() == ["all", "all"]
    assert stored_cases(OneFile(STORED), rows(skipped="no class in common")).empty
