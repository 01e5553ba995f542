"""Short fine-tuning: what one seed chose is judged by the other seeds, and nothing else of a study changes."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau, weightedtau

from analysis.agreement.measure_table import PRIMARY
from analysis.agreement.source_bootstrap import draw
from analysis.evaluation.correlate import correlate
from analysis.evaluation.evaluate import evaluate
from analysis.evaluation.kinds import RUNG_OF, STEPS_OF
from analysis.evaluation.prepared_truth import PreparedTruth
from analysis.evaluation.short_fine_tuning import RUNG_COLUMNS, ShortFineTuning, judged_by_other_seeds, seed_scores
from analysis.evaluation.study import ALL, WITHIN_FAMILIES, WITHOUT_WEAK
from analysis.truth.pools import OTHER_PATIENT, Pool, Scope
from benchmark.training.trainer import RUNGS

TARGETS, SOURCES, SEEDS = ("liver", "lung"), tuple(f"s{place}" for place in range(8)), (0, 1, 2)
NAMES = tuple(RUNG_OF)
RESAMPLES = 40


def values(seed):
    """Target, source, seed -> Dice; all different."""
    generator = np.random.default_rng(seed)
    keys = [(target, source, number) for target in TARGETS for source in SOURCES for number in SEEDS]
    return dict(zip(keys, generator.uniform(0.2, 0.8, len(keys)).round(3), strict=True))


FINAL, AT = values(0), {rung: values(place) for place, rung in enumerate(RUNG_OF.values(), start=1)}


def frames():
    """Truth, scores of one metric, sources of two architectures, and rungs."""
    truth = [(source, target, seed, "all", dice) for (target, source, seed), dice in FINAL.items()]
    rungs = [
        (source, target, seed, "all", rung, dice, 10.0 * (place + 1) + seed)
        for place, (rung, own) in enumerate((AT | {"full": FINAL}).items())
        for (target, source, seed), dice in own.items()
    ]
    scores = [(source, target, "ccfv", FINAL[target, source, 0], "", 2.0) for target in TARGETS for source in SOURCES]
    sources = pd.DataFrame({"source": SOURCES, "task": "brain", "arch": ["unet", "vnet"] * 4, "width": 8})
    sources = sources.assign(length=["scratch", *["long"] * 7], parameters=range(8), source_dice=0.5, source_cases=9)
    return (
        pd.DataFrame(truth, columns=["source", "target", "seed", "tune", "dice"]),
        pd.DataFrame(scores, columns=["source", "target", "metric", "score", "reason", "seconds"]),
        sources,
        pd.DataFrame(rungs, columns=list(RUNG_COLUMNS)),
    )


def by_hand(measure, rung, target, *, sources=SOURCES, final=None):
    """The mean over the seeds of the measure of a seed's rung with the mean Dice of the other seeds."""
    final = final or FINAL
    return np.mean(
        [
            measure(
                [AT[rung][target, source, seed] for source in sources],
                [np.mean([final[target, source, other] for other in SEEDS if other != seed]) for source in sources],
            )
            for seed in SEEDS
        ]
    )


def tau(x, y):
    return weightedtau(x, y).statistic


def regret(x, y):
    return max(y) - y[int(np.argmax(x))]


@pytest.fixture(scope="module")
def plain():
    truth, scores, sources, _ = frames()
    return correlate(truth, scores, sources, resamples=RESAMPLES)


@pytest.fixture(scope="module")
def trained():
    truth, scores, sources, rungs = frames()
    return correlate(truth, scores, sources, resamples=RESAMPLES, rungs=rungs)


@pytest.mark.parametrize("name", NAMES)
def test_each_seed_is_judged_by_the_others_and_a_target_counts_once(trained, name):
    rows, mean = trained.agreement_targets(name), trained.agreement_of().loc[name]
    for target in TARGETS:
        assert rows.loc[target, "weighted_kendall"] == pytest.approx(by_hand(tau, RUNG_OF[name], target))
        assert rows.loc[target, "targets"] == 1
        expected = by_hand(lambda x, y: kendalltau(x, y).statistic, RUNG_OF[name], target)
        assert rows.loc[target, "kendall"] == pytest.approx(expected)
        assert rows.loc[target, "top1_regret"] == pytest.approx(by_hand(regret, RUNG_OF[name], target))
    assert mean["weighted_kendall"] == pytest.approx(rows["weighted_kendall"].mean())
    assert mean[["targets", "sources", "counted"]].tolist() == [2, 8, 8]
    assert mean["kind"] == "training"
    assert mean["weighted_kendall_low"] < mean["weighted_kendall"] < mean["weighted_kendall_high"]


def test_its_cost_is_the_measured_one(trained):
    means = trained.agreement_of()
    assert means.loc[list(NAMES), "seconds"].tolist() == [11.0, 21.0, 31.0]  # mean over the seeds 0, 1, 2
    assert "full" not in set(means.index)


def test_subsets_are_measured_in_the_same_way(trained):
    strong = trained.agreement_targets(NAMES[0], subset=WITHOUT_WEAK)
    within = trained.agreement_targets(NAMES[0], subset=WITHIN_FAMILIES)
    stability = trained.stability.set_index(["division", "subpool", "metric"])["weighted_kendall"]
    for target in TARGETS:
        expected = by_hand(tau, "eighth", target, sources=SOURCES[1:])
        assert strong.loc[target, "weighted_kendall"] == pytest.approx(expected)
        families = [by_hand(tau, "eighth", target, sources=SOURCES[start::2]) for start in (0, 1)]
        assert within.loc[target, "weighted_kendall"] == pytest.approx(np.mean(families))
    unet = np.mean([by_hand(tau, "eighth", target, sources=SOURCES[::2]) for target in TARGETS])
    assert stability["arch", "unet only", NAMES[0]] == pytest.approx(unet)
    alone = np.mean([by_hand(tau, "eighth", target, sources=SOURCES[:3] + SOURCES[4:]) for target in TARGETS])
    assert stability["one_source", "without s3", NAMES[0]] == pytest.approx(alone)


def test_it_changes_nothing_of_estimates_and_controls(plain, trained):
    for name in ("agreement", "comparisons", "stability", "scores"):
        whole, without = getattr(trained, name), getattr(plain, name)
        others = whole[~whole["metric"].isin(NAMES)].reset_index(drop=True)
        pd.testing.assert_frame_equal(others, without.reset_index(drop=True))
    assert trained.best_by_chance == plain.best_by_chance
    assert trained.differences == plain.differences
    rows = trained.agreement[trained.agreement["metric"].isin(NAMES)]
    assert rows[[f"{m.name}_{p}" for m in PRIMARY for p in ("p_max", "p_holm", "q")]].isna().all(axis=None)
    assert rows["weighted_kendall_p"].notna().all()


def test_draws_are_averaged_over_the_seeds():
    truth, _, _, rungs = frames()
    dice = truth[truth["target"] == "lung"].pivot_table(index="source", columns="seed", values="dice").to_numpy()
    pool = Pool("lung", "all", SOURCES, SEEDS, dice)
    draws = draw(SOURCES, resamples=5, generator=np.random.default_rng(0))
    scores = seed_scores(pool, ShortFineTuning.of(rungs))
    parts = [
        evaluate(PreparedTruth(pool.without_seed(seed), draws), scores[NAMES[0]][seed], metric=NAMES[0])
        for seed in SEEDS
    ]

    def evaluated(others, rows):
        return {name: evaluate(PreparedTruth(others, draws), own, metric=name) for name, own in rows.items()}

    mean = judged_by_other_seeds(pool, scores, evaluated)[NAMES[0]]
    for kind in ("resampled", "null", "jackknife"):
        expected = np.mean([getattr(part.agreement, kind)["weighted_kendall"] for part in parts], axis=0)
        np.testing.assert_allclose(getattr(mean.agreement, kind)["weighted_kendall"], expected)


def test_test_cases_give_an_interval_over_cases(trained):
    truth, scores, sources, rungs = frames()
    cases = truth.loc[truth.index.repeat(6)].assign(**{"class": "all"})
    cases = cases.assign(case=np.tile(np.arange(6), len(truth)))
    cases["dice"] = (cases["dice"] + 0.1 * np.sin(7 * np.arange(len(cases)))).clip(0, 1)
    row = correlate(truth, scores, sources, resamples=20, rungs=rungs, cases=cases).agreement_of().loc[NAMES[0]]
    assert -1 <= row["weighted_kendall_cases_low"] < row["weighted_kendall_cases_high"] <= 1
    assert np.isfinite(row["weighted_kendall_seeds_low"])
    assert row["weighted_kendall"] == pytest.approx(trained.agreement_of().loc[NAMES[0], "weighted_kendall"])


def test_a_single_seed_is_undefined_with_the_reason():
    truth, scores, sources, rungs = frames()
    study = correlate(truth[truth["seed"] == 0], scores, sources, resamples=10, rungs=rungs)
    row = study.agreement_targets(NAMES[0]).loc["liver"]
    assert np.isnan(row["weighted_kendall"])
    assert row["reason"] == "a single fine-tuning seed, and no other to judge its choice by"
    assert study.agreement_of().loc[NAMES[0], "reason"] == "undefined on liver, lung"
    assert np.isnan(study.stability.set_index(["subpool", "metric"])["kendall"]["unet only", NAMES[0]])
    assert np.isfinite(study.agreement_of().loc["ccfv", "weighted_kendall"])


def test_a_source_without_a_rung_makes_it_undefined_there():
    truth, scores, sources, rungs = frames()
    missing = (rungs["source"] == "s3") & (rungs["target"] == "lung") & (rungs["seed"] == 1)
    study = correlate(truth, scores, sources, resamples=10, rungs=rungs[~(missing & (rungs["rung"] == "quarter"))])
    rows = study.agreement_targets("fine_tuning_quarter")
    why = "no validation Dice after 1/4 of the steps"
    assert rows.loc["lung", "reason"] == f"with seed 1: no score for 1 of 8 sources: s3 ({why})"
    assert rows["weighted_kendall"].isna().to_dict() == {"liver": False, "lung": True}
    assert rows.loc["lung", "counted"] == 7
    [gap] = study.gaps[study.gaps["metric"] == "fine_tuning_quarter"].to_dict("records")
    assert (gap["target"], gap["source"], gap["reason"]) == ("lung", "s3", why)
    assert study.agreement_targets("fine_tuning_half")["weighted_kendall"].notna().all()


def test_another_patients_dice_judges_the_rungs_of_the_target():
    truth, scores, sources, rungs = frames()
    external = values(9)
    other = [(source, "lung", seed, f"all{OTHER_PATIENT}", external["lung", source, seed])
             for source in SOURCES for seed in SEEDS]  # fmt: skip
    both = pd.concat([truth, pd.DataFrame(other, columns=truth.columns)])
    study = correlate(both, scores, sources, resamples=10, rungs=rungs)
    rows = study.agreement
    rows = rows[(rows["tune"] == f"all{OTHER_PATIENT}") & (rows["subset"] == "all") & (rows["scope"] == Scope.TARGET)]
    rows = rows.set_index("metric")
    assert study.tune == "all"
    assert set(rows["target"]) == {"lung"}
    assert rows.loc[NAMES[2], "weighted_kendall"] == pytest.approx(by_hand(tau, "half", "lung", final=external))
    mean = [np.mean([external["lung", source, seed] for seed in SEEDS]) for source in SOURCES]
    score = [FINAL["lung", source, 0] for source in SOURCES]
    assert rows.loc["ccfv", "weighted_kendall"] == pytest.approx(tau(score, mean))
    # the static leaderboard is that of the main study without the target itself
    leaderboard = [np.mean([FINAL["liver", source, seed] for seed in SEEDS]) for source in SOURCES]
    assert rows.loc["static_leaderboard", "weighted_kendall"] == pytest.approx(tau(leaderboard, mean))
    assert study.agreement_of().loc["ccfv", "targets"] == 2


def test_a_further_truth_of_weak_sources_only_has_no_short_fine_tuning_without_them():
    truth, scores, sources, rungs = frames()
    weak = SOURCES[:3]
    sources = sources.assign(length=sources["length"].where(~sources["source"].isin(weak), "short"))

    def with_head(frame):
        here = frame["source"].isin(weak) & (frame["target"] == TARGETS[0])
        return pd.concat([frame, frame[here].assign(tune="head")])

    study = correlate(with_head(truth), scores, sources, resamples=5, rungs=with_head(rungs))
    rows = study.agreement[(study.agreement["tune"] == "head") & (study.agreement["metric"] == NAMES[0])]
    assert set(rows["subset"]) == {ALL}  # three sources of two families: none has three


def test_rungs_need_their_columns_and_each_once():
    truth, scores, sources, rungs = frames()
    with pytest.raises(ValueError, match=r"`rungs` must have the columns .*, missing seconds"):
        correlate(truth, scores, sources, resamples=5, rungs=rungs.drop(columns="seconds"))
    with pytest.raises(ValueError, match="`rungs` must contain each source, target, seed, tune, rung once"):
        correlate(truth, scores, sources, resamples=5, rungs=pd.concat([rungs, rungs.iloc[:1]]))


def test_the_shares_of_the_steps_are_those_that_a_truth_run_measures():
    shares = {RUNG_OF[name]: Fraction(share) for name, share in STEPS_OF.items()}
    assert shares | {"full": Fraction(1)} == dict(RUNGS)
