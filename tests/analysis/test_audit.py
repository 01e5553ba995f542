"""The audit of a table of truth: planted tables whose answer is known, and the published ones."""

import json

import numpy as np
import pandas as pd
import pytest

from analysis.audit import audit
from analysis.published import OPENMIND, published_truth

# Tables are fractions with four digits; a mean of them is exact to float64's rounding.
ROUNDING = 1e-9


def table(matrix):
    """Sources s0, s1, ... by rows, targets t0, t1, ... by columns."""
    rows = [(f"s{i}", f"t{j}", value) for (i, j), value in np.ndenumerate(np.asarray(matrix, dtype=float))]
    return pd.DataFrame(rows, columns=["source", "target", "dice"])


# The same order on every target, the targets at different levels.
STATIC = np.linspace(0.2, 0.6, 5)[:, None] + np.array([0.0, 0.1, 0.2])


def test_the_same_order_everywhere_is_a_perfect_leaderboard():
    found = audit(table(STATIC), resamples=50)
    assert found.static["weighted_kendall"] == pytest.approx(1)
    assert found.static["pearson"] == pytest.approx(1)
    assert found.rank_sd == pytest.approx(0)
    assert found.by_source["source"].tolist() == ["s4", "s3", "s2", "s1", "s0"]
    assert found.by_source["weighted_kendall_without"].tolist() == pytest.approx([1] * 5)


def test_opposite_targets_mislead_the_leaderboard():
    # With two targets each is predicted by the other alone, here by its reverse.
    found = audit(table(np.stack([STATIC[:, 0], STATIC[::-1, 0]], axis=1)), resamples=50)
    assert found.static["kendall"] == pytest.approx(-1)
    assert found.rank_sd == pytest.approx(np.mean([np.std(pair, ddof=1) for pair in zip(range(5), range(4, -1, -1))]))  # noqa: B905


def test_random_ranks_move_as_the_formula_says():
    # A rank uniform on 1 .. n has variance (n^2 - 1) / 12; six sds of 60 ranks each average to its root within 15%.
    found = audit(table(np.random.default_rng(0).uniform(size=(6, 60))), resamples=5)
    assert found.rank_sd == pytest.approx(found.rank_sd_random, rel=0.15)
    assert found.rank_sd_random == pytest.approx(np.sqrt(35 / 12))


def test_ties_within_the_resolution_are_counted():
    found = audit(table(STATIC), resolution=0.1 + ROUNDING, resamples=5)
    assert found.by_target["tied"].tolist() == pytest.approx([4 / 10] * 3)
    assert found.by_target["spread"].tolist() == pytest.approx([0.4] * 3)


def test_the_mean_without_a_target_is_the_mean_of_the_others():
    found = audit(published_truth("openmind_resenc_l"), resamples=5).by_target
    first = found["weighted_kendall"].drop(0).mean()
    assert found.loc[0, "weighted_kendall_others"] == pytest.approx(first)


def test_seeds_count_by_their_mean_and_a_sub_pool_is_a_table_of_its_own():
    twice = pd.concat([table(STATIC - 0.05).assign(seed=0), table(STATIC + 0.05).assign(seed=1)])
    once, seeds = audit(table(STATIC), resamples=20), audit(twice, resamples=20)
    assert seeds.static == pytest.approx(once.static)
    part = audit(table(STATIC), sources=["s0", "s1", "s4"], resamples=20)
    assert part.by_target["sources"].tolist() == [3, 3, 3]


def test_a_source_run_on_one_target_leaves_the_answer_undefined_with_the_reason():
    rows = pd.concat([table(STATIC), pd.DataFrame({"source": ["lone"], "target": ["t0"], "dice": [0.5]})])
    found = audit(rows, resamples=20)
    assert np.isnan(found.static["kendall"])
    assert found.reason == "undefined on t0"
    assert "lone" in found.by_target.set_index("target").loc["t0", "reason"]


@pytest.mark.parametrize("name", OPENMIND)
def test_published_tables_are_whole(name):
    truth = published_truth(name)
    assert truth["target"].nunique() == 12
    assert len(truth) == truth["source"].nunique() * 12
    assert truth["dice"].between(0.3, 1).all()


def test_json_has_the_named_keys_and_no_nan():
    found = json.loads(audit(table(STATIC), sources=["s0", "s1"], resamples=5).json())
    assert found["static_leaderboard"]["weighted_kendall"] is None
    assert set(found["static_leaderboard"]) >= {"weighted_kendall", "kendall", "pearson", "pearson_low", "pearson_high"}
    assert len(found["targets"]) == 3


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (table(STATIC).drop(columns="dice"), "`table` must have the columns source, target, dice, lacks dice"),
        (table(STATIC[:, :1]), "`table` must hold at least 2 targets, got 1"),
        (table(100 * STATIC), r"Dice as fractions in \[0, 1\], got 20 to 80"),
    ],
)
def test_bad_tables_are_named(rows, message):
    with pytest.raises(ValueError, match=message):
        audit(rows)


def test_an_unknown_published_table_is_named():
    with pytest.raises(ValueError, match="`name` must be one of openmind_resenc_l, openmind_primus_m, got 'imagenet'"):
        published_truth("imagenet")
