"""Who stands in a pool, and who is left out with which reason."""

import numpy as np
import pandas as pd
import pytest

from analysis.truth.pools import (
    families_of,
    main_tune,
    pools,
    same_size,
    with_other_patient,
    without_weak,
)
from analysis.truth.seed_case_bootstrap import CASE_COLUMNS, with_cases


def truth(rows):
    return pd.DataFrame(rows, columns=["source", "target", "seed", "tune", "dice"])


def grid(sources="abcd", seeds=(0, 1), target="liver", tune="last"):
    return [(source, target, seed, tune, 0.1 * (place + 1)) for place, source in enumerate(sources) for seed in seeds]


def test_a_pool_holds_every_source_with_every_seed():
    first, second = pools(truth(grid(target="lung") + grid("abc", seeds=(0, 1, 2))))
    assert (first.target, second.target) == ("liver", "lung")
    assert first.sources == ("a", "b", "c")
    assert first.seeds == (0, 1, 2)
    assert first.dice.shape == (3, 3)
    assert second.spread == pytest.approx(0.3)
    assert not first.left_out


def test_row_order_does_not_matter():
    rows = truth(grid())
    [one], [other] = pools(rows), pools(rows.iloc[::-1])
    assert one.sources == other.sources
    np.testing.assert_array_equal(one.dice, other.dice)


def test_a_source_without_a_seed_stands_outside_with_the_reason():
    rows = [row for row in grid(seeds=(0, 1, 2)) if row[:3] != ("b", "liver", 2)]
    rows = [(*row[:4], np.nan) if row[:3] == ("c", "liver", 0) else row for row in rows]
    [pool] = pools(truth(rows))
    assert pool.sources == ("a", "d")
    assert pool.left_out == {"b": "no Dice with seed 2", "c": "no Dice with seed 0"}


def test_a_seed_that_few_sources_have_is_not_counted():
    [pool] = pools(truth([*grid(), ("a", "liver", 7, "last", 0.5)]))
    assert pool.seeds == (0, 1)
    assert pool.sources == ("a", "b", "c", "d")


def test_each_choice_of_what_is_tuned_has_its_own_pools():
    every = pools(truth(grid() + grid(target="lung") + grid(tune="all")))
    assert [(pool.tune, pool.target) for pool in every] == [("all", "liver"), ("last", "liver"), ("last", "lung")]
    assert main_tune(every) == "last"


def test_another_patient_has_pools_of_its_own_that_are_never_the_main_study():
    rows = truth(grid(tune="all") + grid(target="lung", tune="last"))
    rows["external_dice"] = [0.9 if target == "liver" else np.nan for target in rows["target"]]
    rows.loc[(rows["source"] == "b") & (rows["seed"] == 1), "external_dice"] = np.nan
    rows.loc[(rows["target"] == "lung"), "tune"] = "all"
    every = pools(with_other_patient(rows))
    assert [(pool.tune, pool.target) for pool in every] == [
        ("all", "liver"), ("all", "lung"), ("all, other patient", "liver"),
    ]  # fmt: skip
    other = every[2]
    assert (other.other_patient, every[0].other_patient) == (True, False)
    assert other.sources == ("a", "c", "d")
    assert other.left_out == {"b": "no Dice with seed 1"}
    assert other.dice.tolist() == [[0.9, 0.9]] * 3
    assert main_tune([other, other, every[0]]) == "all"


def test_a_truth_without_another_patient_stays_as_it_is():
    rows = truth(grid())
    pd.testing.assert_frame_equal(with_other_patient(rows), rows)
    pd.testing.assert_frame_equal(with_other_patient(rows.assign(external_dice=np.nan, reason="")), rows)


def test_a_pool_without_a_seed_has_the_dice_and_cases_of_the_others():
    rows = truth(grid(sources="abc", seeds=(0, 1, 5)))
    rows["dice"] += 0.01 * rows["seed"]
    fine_tunings = rows.itertuples(index=False)
    cases = [(*row[:4], case, "organ", row[4] + 0.001 * case) for row in fine_tunings for case in (0, 1)]
    [pool] = with_cases(pools(rows), pd.DataFrame(cases, columns=list(CASE_COLUMNS)))
    other = pool.without_seed(1)
    assert other.seeds == (0, 5)
    np.testing.assert_allclose(other.mean, [0.125, 0.225, 0.325])
    np.testing.assert_allclose(other.cases[:, 1, :, 0], [[0.15, 0.151], [0.25, 0.251], [0.35, 0.351]])


def test_only_keeps_the_named_sources():
    [pool] = pools(truth(grid()))
    part = pool.only({"d", "b", "elsewhere"})
    assert part.sources == ("b", "d")
    np.testing.assert_allclose(part.mean, [0.2, 0.4])


def test_sub_pools():
    frame = pd.DataFrame(
        {
            "source": list("abcdef"),
            "arch": ["unet"] * 4 + ["vnet"] * 2,
            "width": [8, 8, 8, 16, 8, 8],
            "length": ["scratch", "short", "long", "long", "long", "short"],
        }
    )
    assert without_weak(frame) == {"c", "d", "e"}
    assert same_size(frame) == {"unet, width 8": {"a", "b", "c"}}


@pytest.mark.filterwarnings("error")
def test_an_empty_family_is_the_architecture():
    frame = pd.DataFrame({"source": ["a", "b"], "arch": ["unet", "vnet"], "family": [np.nan, np.nan]})
    assert families_of(frame).to_dict() == {"a": "unet", "b": "vnet"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (truth(grid()).drop(columns="tune"), "`truth` must have the columns .*, missing tune"),
        (truth(grid() + grid("a", seeds=(1,))), "once, got a on liver with seed 1 and tune last again"),
        (truth([("a", "liver", 0, "last", 73.0)]), r"fractions in \[0, 1\], got 73 to 73"),
    ],
)
def test_bad_truth_is_named(rows, message):
    with pytest.raises(ValueError, match=message):
        pools(rows)


def test_no_truth_has_no_tune():
    with pytest.raises(ValueError, match="`truth` must contain at least one row, got none"):
        main_tune(pools(truth([])))


def test_skipped_pairs_stand_outside_however_many_they_are():
    rows = [
        (source, target, seed, "all", dice)
        for target, skipped in (("liver", "abcd"), ("lung", "abcdef"))
        for source in "abcdef"
        for seed in (0, 1)
        for dice in [float("nan") if source in skipped else 0.5]
    ]
    [pool] = pools(truth(rows))  # nothing is left of lung
    assert (pool.target, pool.sources, pool.seeds) == ("liver", ("e", "f"), (0, 1))
    assert sorted(pool.left_out) == list("abcd")


def test_the_reason_of_a_skip_stands_beside_its_source():
    rows = [(source, "liver", seed, "all", np.nan if source == "a" else 0.5) for source in "abc" for seed in (0, 1)]
    frame = truth(rows).assign(reason=lambda found: np.where(found["dice"].isna(), "it has two channels", ""))
    [pool] = pools(frame)
    assert pool.left_out == {"a": "no Dice with seed 0, 1 (it has two channels)"}
