"""Two families of sources: a metric that only tells them apart is called that, one that ranks within them is not."""

import numpy as np
import pandas as pd
import pytest

from analysis.agreement.rank_measures import weighted_kendall
from analysis.agreement.source_bootstrap import draw
from analysis.evaluation.correlate import correlate
from analysis.evaluation.study import WITHIN_FAMILIES
from analysis.tables.study_tables import result_table
from analysis.tables.verdict import verdict
from analysis.truth.pools import Scope

FAMILIES = {f"s{place:02d}": "unet" if place < 8 else "unetr" for place in range(16)}
TARGETS = ("liver", "lung", "spleen")


def two_families(*, families=FAMILIES, seed=0):
    """Truth, scores and sources: a unet is 0.2 Dice better than a unetr, and sources differ by 0.05 within a family.

    `good` knows the Dice with a little noise, `teller` the family and nothing else.
    """
    generator = np.random.default_rng(seed)
    expected = {name: 0.6 - 0.2 * (family == "unetr") + 0.05 * generator.normal() for name, family in families.items()}
    truth, scores = [], []
    for target in TARGETS:
        for source, mean in expected.items():
            dice = mean + 0.01 * generator.normal(size=3)
            truth += [(source, target, seed, "all", value) for seed, value in enumerate(dice)]
            values = {
                "good": mean + 0.02 * generator.normal(),
                "teller": 1.0 * (families[source] == "unet") + 0.01 * generator.normal(),
            }
            scores += [(source, target, metric, value, "", 1.0) for metric, value in values.items()]
    sources = pd.DataFrame({"source": list(families), "task": "brain", "arch": list(families.values()), "width": 8})
    sources = sources.assign(length="long", parameters=1000, source_dice=0.8, source_cases=10)
    return (
        pd.DataFrame(truth, columns=["source", "target", "seed", "tune", "dice"]),
        pd.DataFrame(scores, columns=["source", "target", "metric", "score", "reason", "seconds"]),
        sources,
    )


@pytest.fixture(scope="module")
def study():
    return correlate(*two_families(), resamples=400)


def test_a_metric_that_tells_families_apart_is_called_that(study):
    overall, within = study.agreement_of(), study.agreement_of(subset=WITHIN_FAMILIES)
    assert overall.loc["teller", "weighted_kendall_low"] > 0
    assert overall.loc["teller", "weighted_kendall_p"] > 0.05  # permuted within families
    chance = overall.loc["teller", "weighted_kendall_chance"]
    assert chance == pytest.approx(overall.loc["teller", "weighted_kendall"], abs=0.15)
    assert abs(within.loc["teller", "weighted_kendall"]) < 0.3
    finding = verdict(study).findings["teller"]
    assert "only by telling families of sources apart, which alone gives " in finding
    assert "within families no agreement was shown (" in finding
    assert "only by telling families of sources apart" in verdict(study, metric="teller").sentences[0]


def test_a_metric_that_ranks_within_families_keeps_its_agreement(study):
    within = study.agreement_of(subset=WITHIN_FAMILIES)
    assert within.loc["good", "weighted_kendall"] > 0.6
    assert within.loc["good", "weighted_kendall_p"] < 0.01
    assert study.agreement_of().loc["good", "weighted_kendall_p"] < 0.01
    assert "telling families" not in verdict(study).findings["good"]


def test_the_family_as_a_control_scores_what_telling_families_apart_gives(study):
    rows = study.agreement_of()
    assert rows.loc["family", "kind"] == "control"
    assert rows.loc["family", "weighted_kendall"] > 0.4
    assert 0 < rows.loc["family", "weighted_kendall_chance"] < 0.15  # its ties alone
    assert rows.loc["family", "weighted_kendall_p"] < 0.01  # permuted among all sources


def test_within_families_is_the_mean_over_families_by_their_number_of_sources(study):
    truth, scores, _ = two_families()
    values, sizes = [], []
    for family in ("unet", "unetr"):
        names = [name for name, own in FAMILIES.items() if own == family]
        dice = truth[truth["target"] == "lung"].groupby("source")["dice"].mean()[names]
        score = scores[(scores["target"] == "lung") & (scores["metric"] == "good")].set_index("source")["score"][names]
        values.append(weighted_kendall(score, dice))
        sizes.append(len(names))
    row = study.agreement_of("lung", subset=WITHIN_FAMILIES).loc["good"]
    assert row["weighted_kendall"] == pytest.approx(np.average(values, weights=sizes))
    assert row["sources"] == 8
    assert study.agreement_of(subset=WITHIN_FAMILIES).loc["good", "targets"] == 3


def test_two_families_have_no_interval_over_families_and_three_have(study):
    assert np.isnan(study.agreement_of().loc["good", "weighted_kendall_families_low"])
    three = {name: ("a", "b", "c")[place % 3] for place, name in enumerate(FAMILIES)}
    row = correlate(*two_families(families=three), resamples=200).agreement_of().loc["good"]
    assert row["weighted_kendall_families_low"] <= row["weighted_kendall_low"]
    assert row["weighted_kendall_families_high"] >= row["weighted_kendall_high"]


def test_the_columns_of_families_are_shown_where_there_are_several(study):
    columns = result_table(study).columns
    assert {"within families", "over families [95%]", "chance"} <= set(columns)
    alone = correlate(*two_families(families=dict.fromkeys(FAMILIES, "unet")), resamples=50)
    assert not {"within families", "over families [95%]"} & set(result_table(alone).columns)
    assert alone.agreement_of(subset=WITHIN_FAMILIES).empty


def test_the_family_column_goes_before_the_architecture():
    truth, scores, sources = two_families()
    found = correlate(truth, scores, sources.assign(family="one"), resamples=50)
    assert found.agreement_of(subset=WITHIN_FAMILIES).empty


def test_a_family_of_two_sources_is_left_out():
    families = {f"s{place:02d}": "small" if place < 2 else "large" for place in range(10)}
    found = correlate(*two_families(families=families), resamples=50)
    rows = found.agreement_of(subset=WITHIN_FAMILIES)
    assert rows.loc["good", "sources"] == 8
    assert set(found.agreement.loc[found.agreement["subset"] == WITHIN_FAMILIES, "scope"]) == {Scope.TARGET, Scope.MEAN}


def test_permutations_keep_families_and_whole_families_are_drawn():
    draws = draw(FAMILIES, resamples=50, generator=np.random.default_rng(0), families=FAMILIES)
    family = np.array(draws.families)
    assert (family[draws.permutations] == family).all()
    assert not (family[draws.free_permutations] == family).all()
    assert (np.sort(draws.permutations, axis=1) == np.arange(16)).all()
    for name in ("unet", "unetr"):
        of_family = draws.of_families[:, family == name]
        assert (of_family == of_family[:, :1]).all()
        assert (draws.within_families[:, family == name].sum(axis=1) == 8).all()
    pool = ["s00", "s03", "s09", "s10", "s15"]
    codes = np.array([FAMILIES[name] for name in pool])
    assert (codes[draws.permuted(pool)] == codes).all()


def test_one_family_draws_as_before():
    draws = draw(FAMILIES, resamples=20, generator=np.random.default_rng(0))
    assert draws.permutations is draws.free_permutations
    assert draws.of_families is None
    with pytest.raises(ValueError, match="the sources must be of several families"):
        draws.of_each_family()


def test_a_score_that_is_alike_within_each_family_only_tells_them_apart():
    truth, scores, sources = two_families()
    only = scores[scores["metric"] == "good"].assign(metric="ccfv")
    only["score"] = [float(FAMILIES[name] == "unet") for name in only["source"]]
    study = correlate(truth, only, sources, resamples=200)
    sentence = verdict(study).sentences[0]
    assert "It agrees with the truth, but only by telling families of sources apart, which alone gives " in sentence
    assert "within a family: all scores are alike" in sentence
    assert any(note.startswith("within families, ") and "ccfv" in note for note in result_table(study).notes)


def test_no_family_effect_is_claimed_where_there_is_none():
    families = {f"s{place:02d}": f"f{place % 4}" for place in range(12)}
    generator = np.random.default_rng(5)
    truth, scores, sources = two_families(families=dict.fromkeys(families, "unet"))
    noisy = scores.assign(score=scores["score"] + 0.05 * generator.normal(size=len(scores)))
    study = correlate(truth, noisy, sources.assign(arch=list(families.values())), resamples=200)
    assert "telling families of sources apart" not in verdict(study, metric="good").sentences[0]


def test_sources_alone_in_their_family_are_permuted_among_themselves():
    zoo = {f"s{place:02d}": f"arch{place}" for place in range(12)}
    truth, scores, sources = two_families(families=zoo)
    study = correlate(truth, scores.replace({"metric": {"good": "ccfv"}}), sources, resamples=300)
    row = study.agreement_of().loc["ccfv"]
    assert row["weighted_kendall_p"] < 0.01
    assert abs(row["weighted_kendall_chance"]) < 0.1
    assert study.agreement_of(subset=WITHIN_FAMILIES).empty
    draws = draw(
        "abcdefg",
        resamples=200,
        generator=np.random.default_rng(0),
        families=dict(zip("abcdefg", "xxyyzuv", strict=True)),
    )
    strata = np.array([0, 0, 1, 1, 2, 2, 2])
    assert (strata[draws.permutations] == strata).all()
    assert len({tuple(row) for row in draws.permutations[:, 4:]}) == 6


def test_targets_without_a_family_of_three_are_named():
    truth, scores, sources = two_families()
    few = [f"s{place:02d}" for place in (0, 1, 8, 9)]
    kept = (truth["target"] != "liver") | truth["source"].isin(few)
    study = correlate(truth[kept], scores, sources, resamples=50)
    row = study.agreement_of(subset=WITHIN_FAMILIES).loc["good"]
    assert row["targets"] == 2
    assert row["reason"] == "no family of 3 sources on liver"


def test_a_family_with_too_few_scores_is_left_out_of_the_mean():
    truth, scores, sources = two_families()
    lost = (scores["metric"] == "good") & (scores["source"] > "s09")
    study = correlate(truth, scores[~lost], sources, resamples=50, missing="leave_out")
    row = study.agreement_of("lung", subset=WITHIN_FAMILIES).loc["good"]
    assert np.isfinite(row["weighted_kendall"])
    assert "within a family: 2 sources, at least 3 are needed" in row["reason"]
