"""The gain over training from scratch: planted gains, their interval, and what has none."""

import numpy as np
import pandas as pd
import pytest

from analysis.agreement.source_bootstrap import draw
from analysis.truth.gain import EVERY, GAIN_COLUMNS, NO_SCRATCH, NOT_COUNTED, SEVERAL, UNKNOWN_ARCH, gain_table
from analysis.truth.pools import Pool, Scope

SEEDS = 4


def sources_of(*parts):
    """A frame of sources from (name, architecture, width, length)."""
    return pd.DataFrame(parts, columns=["source", "arch", "width", "length"])


def table(sources, dice, *, targets=("liver", "lung"), resamples=2000, seed=0, starved=None):
    """The gains if `dice` (n, s), or a target -> (n, s), is the truth of every target."""
    names = tuple(sources["source"])
    pools = []
    for target in targets:
        values = dice[target] if isinstance(dice, dict) else dice
        pools.append(Pool(target, "last", names, tuple(range(values.shape[1])), values))
    draws = draw(names, resamples=resamples, generator=np.random.default_rng(seed))
    return gain_table(pools, sources, draws=draws, generator=np.random.default_rng(seed + 1), starved=starved)


def planted(*, gain, spread=0.02, noise=0.01, n=8, seed=0):
    """Two architectures: network 0 of each is from scratch, the others are better by `gain` on average."""
    generator = np.random.default_rng(seed)
    parts, rows = [], []
    for arch, base in (("unet", 0.4), ("vit", 0.6)):
        for place in range(n + 1):
            above = gain + spread * generator.standard_normal() if place else 0.0
            parts.append((f"{arch}{place}", arch, 8, "long" if place else "scratch"))
            rows.append(base + above + noise * generator.standard_normal(SEEDS))
    return sources_of(*parts), np.array(rows)


def test_a_planted_gain_is_measured_against_scratch_of_the_same_architecture():
    sources, dice = planted(gain=0.1, noise=0.0, spread=0.0)
    rows = table(sources, dice)
    assert tuple(rows.columns) == GAIN_COLUMNS
    assert list(rows["scope"]) == [Scope.MEAN] * 3 + [Scope.TARGET] * 6
    assert list(rows["arch"]) == [EVERY, "unet", "vit", EVERY, EVERY, "unet", "unet", "vit", "vit"]
    assert set(rows["sources_of"]) == {EVERY}
    np.testing.assert_allclose(rows["gain"], 0.1)
    np.testing.assert_allclose(rows["scratch_dice"], [0.5, 0.4, 0.6, 0.5, 0.5, 0.4, 0.4, 0.6, 0.6])
    np.testing.assert_allclose(rows["dice"] - rows["scratch_dice"], rows["gain"])
    np.testing.assert_allclose(rows[["gain_low", "gain_high"]], 0.1)
    assert rows.groupby("arch")["sources"].unique().map(list).to_dict() == {EVERY: [16], "unet": [8], "vit": [8]}
    assert set(rows["reason"]) == {""}


def test_width_is_matched():
    sources = sources_of(
        ("narrow", "unet", 8, "long"), ("wide", "unet", 32, "short"),
        ("scratch", "unet", 8, "scratch"), ("scratch_wide", "unet", 32, "scratch"),
    )  # fmt: skip
    dice = np.array([[0.5], [0.9], [0.4], [0.6]]) + np.zeros((1, 2))
    row = table(sources, dice, targets=("liver",)).iloc[0]
    assert row["gain"] == pytest.approx(((0.5 - 0.4) + (0.9 - 0.6)) / 2)
    assert row["reason"] == "2 sources, an interval needs 3"
    assert np.isnan([row["gain_low"], row["gain_high"]]).all()


def test_sources_without_a_scratch_of_their_width_are_counted_out():
    sources, dice = planted(gain=0.1)
    sources.loc[sources["source"].isin(["unet1", "unet2"]), "width"] = 64
    mean, row = (row for _, row in table(sources, dice, targets=("liver",)).query("arch == 'unet'").iterrows())
    assert mean["sources"] == row["sources"] == 6
    assert mean["reason"] == NOT_COUNTED
    assert row["reason"] == "no scratch source of the width of 2 of 8 sources"


def test_without_a_scratch_source_the_row_says_so():
    sources, dice = planted(gain=0.1)
    sources.loc[sources["source"] == "vit0", "length"] = "long"
    rows = table(sources, dice).set_index(["arch", "scope"])
    for scope in (Scope.MEAN, Scope.TARGET):
        found = rows.loc[("vit", scope)]
        assert (np.ravel(found["reason"]) == NO_SCRATCH).all()
        assert np.isnan(np.ravel(found["gain"]).astype(float)).all()
    assert np.isfinite(rows.loc[("unet", Scope.MEAN), "gain"]).all()


def test_an_unknown_width_or_architecture_matches_no_scratch_source():
    sources, dice = planted(gain=0.1)
    unknown = sources.assign(width=sources["width"].where(sources["arch"] != "vit"))
    rows = table(unknown, dice).set_index("arch")
    assert set(rows.loc["vit", "reason"]) == {NO_SCRATCH}
    np.testing.assert_allclose(rows.loc["unet", "gain"], table(sources, dice).set_index("arch").loc["unet", "gain"])
    rows = table(sources.assign(arch=sources["arch"].where(sources["arch"] != "vit")), dice).set_index("arch")
    assert set(rows.index) == {EVERY, "unet", UNKNOWN_ARCH}
    assert set(rows.loc[UNKNOWN_ARCH, "reason"]) == {NO_SCRATCH}
    assert rows.loc[UNKNOWN_ARCH, "gain"].isna().all()


def test_a_single_source_is_counted_as_one():
    sources = sources_of(("one", "unet", 8, "long"), ("scratch", "unet", 8, "scratch"))
    assert table(sources, np.array([[0.5, 0.5], [0.4, 0.4]]))["reason"].iloc[0] == "1 source, an interval needs 3"


def test_the_mean_is_over_the_targets_with_a_gain():
    sources, dice = planted(gain=0.1)
    pools = [
        Pool("liver", "last", tuple(sources["source"]), tuple(range(SEEDS)), dice),
        Pool("lung", "last", tuple(sources["source"]), tuple(range(SEEDS)), dice + 0.05 * (dice > 0.45)),
        Pool("spleen", "last", tuple(sources["source"]), tuple(range(SEEDS)), dice).only(
            set(sources["source"]) - {"unet0"}
        ),
    ]
    draws = draw(sources["source"], resamples=200, generator=np.random.default_rng(0))
    rows = gain_table(pools, sources, draws=draws, generator=np.random.default_rng(1))
    unet = rows[rows["arch"] == "unet"].set_index("target")
    assert unet.loc["", "gain"] == pytest.approx((unet.loc["liver", "gain"] + unet.loc["lung", "gain"]) / 2)
    assert unet.loc["", "reason"] == f"without spleen: {NO_SCRATCH}"


def test_the_interval_covers_what_other_sources_and_seeds_give():
    # Planted: 8 sources above scratch by 0.1 on average (sd 0.02), noise 0.02 of each of 4 seeds, also of scratch.
    hits = []
    for seed in range(150):
        sources, dice = planted(gain=0.1, noise=0.02, seed=seed)
        row = table(sources, dice, targets=("liver",), resamples=400, seed=seed).iloc[0]
        hits.append(row["gain_low"] <= 0.1 <= row["gain_high"])
    assert 0.88 <= np.mean(hits) <= 0.995  # three standard errors around 0.93 to 0.98


def test_a_noisy_scratch_network_widens_the_interval():
    sources, dice = planted(gain=0.1, noise=0.0)
    noisy = dice.copy()
    noisy[0] += 0.1 * np.array([1, -1, 1, -1])
    width = [table(sources, values, targets=("liver",)).iloc[0] for values in (dice, noisy)]
    calm, wide = (row["gain_high"] - row["gain_low"] for row in width)
    assert wide > 2 * calm


def test_one_seed_is_an_interval_over_sources():
    sources, dice = planted(gain=0.1)
    row = table(sources, dice[:, :1], targets=("liver",)).iloc[0]
    assert row["gain_low"] < row["gain"] < row["gain_high"]


def test_a_pool_of_scratch_networks_has_no_row():
    sources, dice = planted(gain=0.1)
    rows = table(sources.assign(length="scratch"), dice)
    assert rows.empty
    assert tuple(rows.columns) == GAIN_COLUMNS


def test_sources_of_several_classes_have_rows_of_their_own():
    sources, dice = planted(gain=0.1, noise=0.0, spread=0.0)
    several = sources["source"].isin(["unet1", "unet2", "unet3", "unet4"])
    dice[several] += 0.1
    rows = table(sources.assign(classes=np.where(several, 3.0, 1.0)), dice).set_index(["scope", "arch", "sources_of"])
    means = rows.loc[Scope.MEAN]
    assert list(means.index) == [(EVERY, EVERY), (EVERY, SEVERAL), ("unet", EVERY), ("unet", SEVERAL), ("vit", EVERY)]
    np.testing.assert_allclose(means["gain"], [0.125, 0.2, 0.15, 0.2, 0.1])
    np.testing.assert_allclose(means["sources"], [16, 4, 8, 4, 8])
    assert np.isfinite(means[["gain_low", "gain_high"]]).all(axis=None)
    np.testing.assert_allclose(means.loc[(EVERY, SEVERAL), ["gain_low", "gain_high"]].astype(float), 0.2)


def test_an_unknown_number_of_classes_is_not_several():
    sources, dice = planted(gain=0.1)
    assert set(table(sources.assign(classes=np.nan), dice)["sources_of"]) == {EVERY}


def test_sources_of_a_starved_scratch_network_are_not_counted_on_that_target():
    sources, dice = planted(gain=0.1, noise=0.0, spread=0.0)
    dice[sources["source"].str.startswith("vit")] += np.linspace(0, 0.1, 9)[:, None]
    rows = table(sources, dice, starved={("liver", "vit", 8): "too short"}).set_index(["arch", "target"])
    assert rows.loc[("vit", "liver"), "reason"] == "8 of 8 sources not counted: too short"
    assert np.isnan(rows.loc[("vit", "liver"), "gain"])
    assert rows.loc[(EVERY, "liver"), "sources"] == 8
    assert rows.loc[(EVERY, "liver"), "gain"] == pytest.approx(rows.loc[("unet", "liver"), "gain"])
    assert rows.loc[(EVERY, "liver"), "reason"] == "8 of 16 sources not counted: too short"
    assert rows.loc[(EVERY, "lung"), "sources"] == 16
    assert rows.loc[("vit", ""), "gain"] == pytest.approx(rows.loc[("vit", "lung"), "gain"])
    assert rows.loc[("vit", ""), "reason"] == "without liver: 8 of 8 sources not counted: too short"
    assert rows.loc[(EVERY, ""), "reason"] == NOT_COUNTED
    assert rows.loc[("unet", ""), "reason"] == ""
