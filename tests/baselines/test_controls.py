"""The controls: pure functions of facts about the sources."""

import numpy as np
import pandas as pd
import pytest

from baselines import parameters_score, random_score, source_cases_score, source_dice_score, static_leaderboard

TRUTH = pd.DataFrame(
    [
        ("a", "u", 0, 0.6),
        ("a", "u", 1, 0.8),
        ("b", "u", 0, 0.5),
        ("a", "v", 0, 0.2),
        ("b", "v", 0, 0.6),
        ("c", "v", 0, 0.1),
    ],
    columns=["source", "target", "seed", "dice"],
)


def test_random_follows_its_generator():
    one, two = (random_score(np.random.default_rng(3)) for _ in range(2))
    assert one == two


@pytest.mark.parametrize("score", [parameters_score, source_dice_score, source_cases_score])
def test_a_fact_is_its_own_score(score):
    assert score(0.5) == 0.5
    assert np.isnan(score(float("nan")))
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        score(-1)


def test_a_dice_is_at_most_1():
    with pytest.raises(ValueError, match=r"`source_dice` must lie in \[0, 1\], got 1.5"):
        source_dice_score(1.5)


def test_the_static_leaderboard_by_hand():
    """Pool means 0.6 (u: a 0.7, b 0.5) and 0.3 (v). a is +0.1 on u and -0.1 on v, b -0.1 and +0.3, c -0.2 on v only."""
    found = static_leaderboard(TRUTH).set_index(["source", "target"])["score"]
    assert found["a", "u"] == pytest.approx(-0.1)
    assert found["a", "v"] == pytest.approx(0.1)
    assert found["b", "u"] == pytest.approx(0.3)
    assert found["b", "v"] == pytest.approx(-0.1)
    assert np.isnan(found["c", "v"])


def test_the_scored_target_is_never_looked_at():
    changed = TRUTH.assign(dice=TRUTH["dice"].where(TRUTH["target"] != "u", 0.01))
    one, two = (static_leaderboard(truth).set_index(["source", "target"])["score"] for truth in (TRUTH, changed))
    assert one["a", "u"] == two["a", "u"]


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="`truth` must have the columns source, target, dice, lacks dice"):
        static_leaderboard(TRUTH.drop(columns="dice"))
