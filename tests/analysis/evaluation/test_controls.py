"""The controls: by hand on two targets, and without a look at the target that they score."""

import numpy as np
import pandas as pd
import pytest

from analysis.evaluation.controls import CONTROLS, control_scores, group_scores, static_leaderboard
from analysis.truth.pools import Pool


def pool(target, sources, *means):
    return Pool(target, "last", tuple(sources), (0,), np.array(means)[:, None])


POOLS = (pool("liver", "abc", 0.2, 0.4, 0.6), pool("lung", "abd", 0.5, 0.1, 0.3))
FRAME = pd.DataFrame(
    {
        "source": list("abcd"),
        "arch": ["unet", "unet", "vnet", "vnet"],
        "length": ["scratch", "long", "long", "long"],
        "parameters": [10, 20, 30, 40],
        "source_dice": [np.nan, 0.7, 0.8, np.nan],
        "source_cases": [np.nan, 5, 6, 7],
    }
)


def scores(pools=POOLS, others=POOLS, seed=0):
    rows = control_scores(pools, FRAME, others=others, generator=np.random.default_rng(seed))
    return rows.set_index(["metric", "target", "source"])


def test_static_leaderboard_by_hand():
    # liver: pool mean 0.4; lung: 0.3. a: (-0.2 + 0.2) / 2; b: (0 - 0.2) / 2; c: 0.2 and d: 0 on one target each.
    found = static_leaderboard(POOLS)
    assert found == pytest.approx({"a": 0.0, "b": -0.1, "c": 0.2, "d": 0.0})


@pytest.mark.filterwarnings("error")
def test_an_empty_pool_does_not_count():
    empty = POOLS[0].only(())
    assert static_leaderboard([empty, *POOLS]) == static_leaderboard(POOLS)


def test_static_control_looks_at_the_other_targets_alone():
    found = scores()["score"]["static_leaderboard"]
    assert found["liver"][["a", "b"]].tolist() == pytest.approx([0.2, -0.2])
    assert found["lung"][["a", "b"]].tolist() == pytest.approx([-0.2, 0.0])
    changed = (pool("liver", "abc", 0.9, 0.1, 0.5), POOLS[1])
    assert scores(changed, changed)["score"]["static_leaderboard"]["liver"].equals(found["liver"])


def test_a_source_run_nowhere_else_has_no_static_score():
    rows = scores()
    assert np.isnan(rows["score"]["static_leaderboard"]["liver"]["c"])
    assert rows["reason"]["static_leaderboard"]["liver"]["c"] == "run on no other target"


def test_hindsight_sees_the_target_too():
    assert scores()["score"]["best_in_hindsight"]["liver"].tolist() == pytest.approx([0.0, -0.1, 0.2])


def test_scratch_learned_from_nothing_and_a_gap_is_said():
    rows = scores()
    assert rows["score"]["source_dice"]["liver"].tolist() == [0.0, 0.7, 0.8]
    assert rows["score"]["source_cases"]["lung"].tolist() == [0, 5, 7]
    assert np.isnan(rows["score"]["source_dice"]["lung"]["d"])
    assert rows["reason"]["source_dice"]["lung"]["d"] == "its source_dice is not recorded"


def test_random_depends_on_the_seed_alone():
    first, again, other = (scores(seed=seed)["score"]["random"] for seed in (0, 0, 1))
    assert first.equals(again)
    assert not first.equals(other)


def test_every_control_scores_every_pair():
    rows = scores()
    assert set(rows.index.get_level_values("metric")) == set(CONTROLS)
    assert len(rows) == 6 * len(CONTROLS)


def test_an_unknown_source_is_named():
    with pytest.raises(ValueError, match="`sources` must have a row for each source of the truth, missing z"):
        scores((pool("liver", "az", 0.1, 0.2),))


def test_a_family_scores_the_mean_of_its_sources_on_the_other_targets():
    rows = scores()["score"]
    # On the lung a is at +0.2, b at -0.2, d at 0: unet 0, vnet 0 (d); scratch is a alone.
    assert rows["family"]["liver"].to_dict() == pytest.approx({"a": 0.0, "b": 0.0, "c": 0.0})
    assert rows["family_pretrained"]["liver"].to_dict() == pytest.approx({"a": 0.2, "b": -0.2, "c": 0.0})
    assert rows["pretrained"]["liver"].to_dict() == {"a": 0.0, "b": 1.0, "c": 1.0}
    # On the liver a is at -0.2, b at 0, c at +0.2.
    assert rows["family"]["lung"].to_dict() == pytest.approx({"a": -0.1, "b": -0.1, "d": 0.2})


def test_a_family_column_goes_before_the_architecture():
    found = group_scores({"a": 0.2, "b": -0.2, "d": 0.0}, FRAME.assign(family=["", "own", "", ""]))
    assert found["family"]["b"] == pytest.approx(-0.2)
    assert found["family"]["a"] == pytest.approx(0.2)


def test_a_group_that_was_run_nowhere_else_says_so():
    rows = control_scores(POOLS[:1], FRAME, others=POOLS[:1], generator=np.random.default_rng(0))
    rows = rows[rows["metric"] == "family"]
    assert rows["score"].isna().all()
    assert set(rows["reason"]) == {"no source of its group was run on another target"}
