"""Load the results of a suite from the tracking store: the rows of each stage, and the Dice of each case."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from analysis.truth.pools import OTHER_PATIENT
from analysis.truth.seed_case_bootstrap import CASE_COLUMNS
from benchmark.errors import InputError
from benchmark.racing.halving import case_contributions
from benchmark.storage.files import read_json
from benchmark.tracking import Store
from benchmark.tracking.records import Row, newest

DICE_FILE = "dice.json"
VALIDATION_COLUMNS = ("source", "target", "seed", "tune", "rung", "case", "dice")


def stored_rows(
    store: Store, stage: str, cfg: DictConfig, keys: Mapping[str, Sequence[str]] | None = None
) -> list[Row]:
    """Load the finished jobs of a stage.

    Args:
        store: The store.
        stage: The stage.
        cfg: The command's config; its suite gives sources, targets and seeds.
        keys: Stage -> keys of the jobs to load; by default the newest jobs of the suite's sources, targets and seeds.

    Returns:
        The rows.

    Raises:
        InputError: The store has no such jobs.
    """
    jobs = store.finished(stage)
    rows = _newest(jobs.values(), stage, cfg) if keys is None else [jobs[key] for key in keys[stage] if key in jobs]
    if not rows:
        raise InputError(
            f"tracking.uri: {store.uri} must hold finished {stage} jobs of suite {cfg.suite.name}, got none"
        )
    return rows


def _newest(rows: Iterable[Row], stage: str, cfg: DictConfig) -> list[Row]:
    wanted = {
        "source": set(cfg.suite.sources),
        "target": set(cfg.suite.targets),
        "seed": set(map(str, cfg.suite.seeds)),
    }
    if stage == "pretrain":
        wanted = {"source": wanted["source"]}
    return newest(
        row
        for row in rows
        if not row.tags.get("variant")  # made by `sensitivity` with other settings
        and all(row.params[name] in allowed for name, allowed in wanted.items() if name in row.params)
    )


@dataclass(frozen=True)
class StoredDice:
    """The Dice of the cases that fine-tuned networks were measured on, as fractions.

    Attributes:
        cases: Columns `analysis.truth.seed_case_bootstrap.CASE_COLUMNS`: each test case and class, those of another
            patient included; NaN if a case lacks the class. `tune` of another patient's cases ends in
            `analysis.truth.pools.OTHER_PATIENT`.
        validation: Columns `VALIDATION_COLUMNS`: what each validation case contributes to the mean Dice of a
            fine-tuning at each rung (`benchmark.racing.halving.case_contributions`); NaN for a case without any class.
            Empty if the runs do not have them.
    """

    cases: pd.DataFrame
    validation: pd.DataFrame


def stored_dice(store: Store, rows: Sequence[Row]) -> StoredDice:
    """Load the Dice of each case; skipped pairs have none.

    Args:
        store: The store.
        rows: Rows of the truth stage.
    """
    tests: list[tuple[str | int | float | None, ...]] = []
    validation: list[tuple[str | int | float, ...]] = []
    with tempfile.TemporaryDirectory() as folder:
        for row in rows:
            if row.tags.get("skipped"):
                continue
            path = store.download(row.run, DICE_FILE, Path(folder) / row.run)
            stored = read_json(path)
            place = (row.params["source"], row.params["target"], int(row.params["seed"]))
            tune = row.params["tune"]
            for split, patient in (("test", ""), ("external", OTHER_PATIENT)):
                tests += [
                    (*place, tune + patient, case, name, dice)
                    for case, classes in stored.get(split, {}).items()
                    for name, dice in classes.items()
                ]
            validation += [
                (*place, tune, rung, case, contribution)
                for rung, cases in stored.get("validation", {}).items()
                for case, contribution in _contributions(cases).items()
            ]
    frame = pd.DataFrame(tests, columns=list(CASE_COLUMNS)).astype({"dice": float})
    return StoredDice(frame, pd.DataFrame(validation, columns=list(VALIDATION_COLUMNS)).astype({"dice": float}))


def _contributions(cases: Mapping[str, Mapping[str, float | None]]) -> dict[str, float]:
    """Case -> what it contributes to the mean Dice, from the Dice of its classes; None or NaN for an absent class."""
    values = np.array([list(classes.values()) for classes in cases.values()], dtype=np.float64)  # None becomes NaN
    return dict(zip(cases, case_contributions(values[None]).tolist(), strict=True)) if cases else {}
