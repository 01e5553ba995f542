"""What a truth run stores of a fine-tuning that was measured on the way."""

import json
import math

import pandas as pd
import pytest

from benchmark.data.preprocessing.normalise import Normalisation
from benchmark.data.tasks.msd_layout import DecathlonTask
from benchmark.sources.weights.match import Transfer
from benchmark.tracking.records import rung_frame
from benchmark.training.trainer import Rung, TrainingOutcome
from benchmark.truth import _log

PARAMS = {"source": "made", "target": "synthetic_ball", "seed": "0", "tune": "all"}


@pytest.fixture
def target(prepared):
    return DecathlonTask("synthetic_ball", prepared / "synthetic" / "synthetic_ball", Normalisation((0.0, 1.0)))


@pytest.fixture
def logged(place, target, tmp_path):
    """Stores an outcome with rungs, and returns its row and its dice.json."""

    def run(rungs):
        done = TrainingOutcome({"t": [0.5]}, {}, [1.0], Transfer((), {}, ()), {}, rungs)
        store = place.store()
        with store.run("truth", "key", "one", params=PARAMS, config={}, suite="synthetic") as tracked:
            _log(tracked, done, target)
        (row,) = store.finished("truth").values()
        return row, json.loads(store.download(row.run, "dice.json", tmp_path / "got").read_text(encoding="utf-8"))

    return run


def test_rungs_are_stored_with_their_cases_and_cost(logged):
    row, dice = logged({"half": Rung(4, {"a": [0.25], "b": [0.75]}, 2.5), "full": Rung(8, {"a": [1.0]}, 4.0)})
    assert dice == {
        "test": {"t": {"ball": 0.5}},
        "external": {},
        "validation": {"half": {"a": {"ball": 0.25}, "b": {"ball": 0.75}}, "full": {"a": {"ball": 1.0}}},
    }
    expected = [
        ("made", "synthetic_ball", 0, "all", "full", 1.0, 4.0),
        ("made", "synthetic_ball", 0, "all", "half", 0.5, 2.5),
    ]
    pd.testing.assert_frame_equal(
        rung_frame([row]),
        pd.DataFrame(expected, columns=["source", "target", "seed", "tune", "rung", "dice", "seconds"]),
    )
    assert not any(tag.startswith("reason/") for tag in row.tags)


def test_a_rung_without_foreground_is_undefined_for_a_stated_reason(logged):
    row, _ = logged({"half": Rung(4, {"a": [math.nan]}, 2.5)})
    assert math.isnan(row.metrics["validation_dice/half"])
    assert row.metrics["seconds/validation_dice/half"] == 2.5
    assert row.tags["reason/validation_dice/half"] == "no validation case holds a foreground voxel"
    assert "reason/dice" not in row.tags


def test_a_target_without_validation_cases_has_no_rung(logged):
    row, dice = logged({})
    assert dice["validation"] == {}
    assert rung_frame([row]).empty
    assert row.metrics["dice"] == 0.5
