"""Longer training from scratch: planted shares, and which sources they count out."""

import numpy as np
import pandas as pd
import pytest

from analysis.truth.pools import Pool
from analysis.truth.scratch_budget import (
    BUDGET_COLUMNS,
    ENOUGH,
    LONGER_COLUMNS,
    NO_RUN,
    budget_table,
    no_longer_runs,
    starved,
)

SOURCES = pd.DataFrame(
    [("a", "unet", 8, "scratch"), ("b", "unet", 16, "scratch"), ("c", "unet", 8, "long")],
    columns=["source", "arch", "width", "length"],
)
POOL = Pool("liver", "all", ("a", "b", "c"), (0, 1), np.array([[0.5, 0.7], [0.6, 0.6], [0.9, 0.9]]))


def longer(*rows):
    """Runs of longer training from (source, seed, Dice)."""
    return pd.DataFrame(
        [(source, "liver", seed, "all", dice, 4.0) for source, seed, dice in rows], columns=list(LONGER_COLUMNS)
    )


def test_scratch_is_compared_over_the_seeds_that_both_have():
    table = budget_table([POOL], SOURCES, longer(("a", 0, 0.6), ("b", 0, 0.6), ("b", 1, 0.7)))
    assert tuple(table.columns) == BUDGET_COLUMNS
    assert table[["target", "arch", "width", "factor", "enough", "reason"]].values.tolist() == [
        ["liver", "unet", 8, 4.0, "no", ""],
        ["liver", "unet", 16, 4.0, "yes", ""],
    ]
    np.testing.assert_allclose(table["scratch_dice"], [0.5, 0.6])
    np.testing.assert_allclose(table["longer_dice"], [0.6, 0.65])
    np.testing.assert_allclose(table["share"], [0.5 / 0.6, 0.6 / 0.65])


@pytest.mark.parametrize(("offset", "enough"), [(-1e-6, "yes"), (1e-6, "no")])
def test_the_limit_is_85_percent(offset, enough):
    assert ENOUGH == 0.85
    assert budget_table([POOL], SOURCES, longer(("a", 0, 0.5 / 0.85 + offset)))["enough"].iloc[0] == enough


def test_a_seed_of_longer_training_that_the_study_lacks_is_compared_with_all():
    table = budget_table([POOL], SOURCES, longer(("a", 5, 0.6)))
    assert table["scratch_dice"].iloc[0] == pytest.approx(0.6)
    assert table["enough"].iloc[0] == "yes"


def test_what_was_not_trained_longer_is_not_counted_out():
    table = budget_table([POOL], SOURCES, longer(("a", 0, 0.6)))
    assert table.loc[1, ["enough", "reason"]].tolist() == ["", NO_RUN]
    assert list(starved(table)) == [("liver", "unet", 8)]
    assert starved(table)["liver", "unet", 8] == (
        "unet of width 8 from scratch has 83.3% of its Dice after 4 times the steps"
    )


def test_other_truths_and_skipped_pairs_do_not_count():
    rows = longer(("a", 0, 0.6), ("b", 0, np.nan))
    table = budget_table([POOL], SOURCES, pd.concat([rows, longer(("b", 1, 0.9)).assign(tune="head")]))
    assert list(table["enough"]) == ["no", ""]


def test_a_dice_of_0_after_longer_training_has_no_share():
    pool = Pool("liver", "all", ("a",), (0,), np.zeros((1, 1)))
    row = budget_table([pool], SOURCES, longer(("a", 0, 0.0))).iloc[0]
    assert np.isnan(row["share"])
    assert (row["enough"], row["reason"]) == ("yes", "Dice 0 after both")


def test_without_longer_training_nothing_is_known():
    table = budget_table([POOL], SOURCES, no_longer_runs())
    assert table.empty
    assert tuple(table.columns) == BUDGET_COLUMNS
    assert starved(table) == {}
    assert starved(pd.DataFrame()) == {}
