"""A backbone without its segmentation head is scored by what reads features; the rest is NaN with its reason."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch

from tests.checkpoints import small_network, write_weights

REASON = "the source has no segmentation head, whose prediction this estimate needs"
FEATURES = ("ccfv", "logme", "knn")
PREDICTIONS = ("leep", "nce", "etran_energy")
METRICS = f"metric=[{','.join(FEATURES + PREDICTIONS)}]"


@pytest.fixture
def pool(tmp_path):
    """A network with its head, without it, and another beside them."""
    folder = tmp_path / "pool"
    network = small_network("DynUNet")
    write_weights(network, folder / "whole.pt")
    torch.save({n: t for n, t in network.state_dict().items() if not n.startswith("output_block")}, folder / "bare.pt")
    write_weights(small_network("SegResNet"), folder / "other.pt")
    return folder


def test_rank_orders_it_by_its_features(prepared, pool, command_line, tmp_path):
    named = [f"output_dir={tmp_path}/outputs", f"task={prepared}/synthetic/synthetic_ball", f"source={pool}"]
    done = command_line("rank", *named, METRICS, "draws=5", "draws_of_points=2", "metric.knn.count=200")
    assert done.code == 0, done.err
    folder = tmp_path / "outputs/rank/synthetic_ball"
    table = pd.read_csv(folder / "ranking.csv", index_col="source")
    for name in FEATURES:
        assert table.loc["bare", name] == pytest.approx(table.loc["whole", name], rel=1e-5)
    assert table.loc["bare", list(PREDICTIONS)].isna().all()
    assert np.isfinite(table.loc["whole", list(PREDICTIONS)].astype(float)).all()
    assert table.loc["bare", "place"] >= 1
    written = json.loads((folder / "ranking.json").read_text(encoding="utf-8"))
    reasons = {row["metric"]: row["reason"] for row in written["reasons"] if row["source"] == "bare"}
    assert {name: reasons[name] for name in PREDICTIONS} == dict.fromkeys(PREDICTIONS, REASON)
    assert any("no segmentation head, since output_block" in note for note in written["notes"]["bare"])
    assert any(note.startswith("assumed, since no tensor shows it: strides = ") for note in written["notes"]["bare"])


def test_score_gives_the_reason(study, pool, command_line):
    source = ["source=state_dict", f"source.path={pool / 'bare.pt'}", "target=synthetic_ball", "experiment=synthetic"]
    for metrics in (
        "metric=[ccfv,logme,leep,nce]",
        "metric=[ccfv,logme,leep,nce,gbc]",
    ):  # the second reads the first's pass
        done = command_line("score", *source, metrics, *study.overrides)
        assert done.code == 0, done.err
    rows = list(study.store().finished("score").values())
    assert sorted(row.tags["statistics"] for row in rows) == ["computed", "read"]
    for row in rows:
        assert math.isfinite(row.metrics["ccfv"])
        assert math.isnan(row.metrics["leep"])
        assert row.tags["reason/leep"] == row.tags["reason/nce"] == REASON


def test_its_head_is_made_anew_when_it_is_fine_tuned(study, pool, command_line):
    source = ["source=state_dict", f"source.path={pool / 'bare.pt'}", "target=synthetic_ball", "experiment=synthetic"]
    done = command_line("truth", *source, "trainer.budget.steps=2", *study.overrides)
    assert done.code == 0, done.err
    (row,) = study.store().finished("truth").values()
    assert math.isfinite(row.metrics["dice"])
    assert row.metrics["fresh"] == len(small_network("DynUNet").output_block.state_dict())


def test_inspect_says_so(pool, command_line, tmp_path):
    done = command_line("inspect", f"path={pool / 'bare.pt'}", f"output_dir={tmp_path}")
    assert done.code == 0, done.err
    assert "no segmentation head" in done.out
    assert "assumed" in done.out
