"""What the tracking store holds of a suite: the rows of each stage, and the Dice of each test case."""

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
from omegaconf import DictConfig

from analysis.truth.seed_case_bootstrap import CASE_COLUMNS
from benchmark.errors import InputError
from benchmark.tracking import Store
from benchmark.tracking.records import Row, newest

DICE_FILE = "dice.json"


def stored_rows(
    store: Store, stage: str, cfg: DictConfig, keys: Mapping[str, Sequence[str]] | None = None
) -> list[Row]:
    """The finished jobs of a stage that count.

    Args:
        store: The store.
        stage: The stage.
        cfg: The command's config; its suite names sources, targets and seeds.
        keys: Stage -> keys of the jobs that count; without it the newest of the suite's sources, targets and seeds.

    Returns:
        The rows.

    Raises:
        InputError: There are none.
    """
    found = store.finished(stage)
    rows = _newest(found.values(), stage, cfg) if keys is None else [found[key] for key in keys[stage] if key in found]
    if not rows:
        raise InputError(
            f"tracking.uri: {store.uri} must hold finished {stage} jobs of suite {cfg.suite.name}, got none"
        )
    return rows


def _newest(found: Iterable[Row], stage: str, cfg: DictConfig) -> list[Row]:
    wanted = {
        "source": set(cfg.suite.sources),
        "target": set(cfg.suite.targets),
        "seed": set(map(str, cfg.suite.seeds)),
    }
    if stage == "pretrain":
        wanted = {"source": wanted["source"]}
    return newest(
        row
        for row in found
        if not row.tags.get("variant")  # made by `study` with other settings
        and all(row.params[name] in allowed for name, allowed in wanted.items() if name in row.params)
    )


def stored_cases(store: Store, rows: Sequence[Row]) -> pd.DataFrame:
    """The Dice of each test case and class of fine-tuned networks.

    Args:
        store: The store.
        rows: Rows of the truth stage.

    Returns:
        Columns `analysis.truth.seed_case_bootstrap.CASE_COLUMNS`, a fraction; NaN where a case lacks the class. A pair
        that was skipped has no line.
    """
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for row in rows:
            if row.tags.get("skipped"):
                continue
            path = store.download(row.run, DICE_FILE, Path(folder) / row.run)
            test = json.loads(path.read_text(encoding="utf-8"))["test"]
            place = (row.params["source"], row.params["target"], int(row.params["seed"]), row.params["tune"])
            lines += [(*place, case, name, dice) for case, classes in test.items() for name, dice in classes.items()]
    return pd.DataFrame(lines, columns=list(CASE_COLUMNS)).astype({"dice": float})
