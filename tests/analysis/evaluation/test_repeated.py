"""Repeated pre-training: planted movements of scores and agreement."""

import numpy as np
import pandas as pd
import pytest

from analysis.agreement.rank_measures import weighted_kendall
from analysis.evaluation.kinds import CONTROL, METRIC
from analysis.evaluation.repeated import DICE, STUDY, Frames, repeated_pretraining

REPLACED = ("s05", "s06")


@pytest.fixture(scope="module")
def frames(planted):
    truth, scores, sources = planted
    return Frames(truth, scores[scores["metric"].isin(["good", "bad", "gap"])], sources)


def moved(frames, *, dice=0.0, score=0.0, own=0.0):
    """The frames with the repeats of a seed that differ by this much."""
    truth, scores, sources = frames.truth.copy(), frames.scores.copy(), frames.sources.copy()
    for frame, column, change in ((truth, "dice", dice), (scores, "score", score), (sources, "source_dice", own)):
        frame.loc[frame["source"].isin(REPLACED), column] += change
    return Frames(truth, scores, sources)


def repeated(frames, **repeats):
    names = {name.replace("_", " "): given for name, given in repeats.items()}
    return repeated_pretraining(frames, names, dict.fromkeys(names, REPLACED), tune="last")


def test_equal_repeats_move_nothing(frames):
    result = repeated(frames, seed_1=frames, seed_2=frames)
    assert result.repeats == ["seed 1", "seed 2"]
    for metric in ("good", "bad", "parameters", "static_leaderboard"):
        assert result.movement(metric) == 0.0
    assert [result.share("good"), result.share(DICE)] == pytest.approx([0, 0], abs=1e-12)
    assert set(result.names(METRIC)) == {"good", "bad"}  # a score of `gap` is missing


def test_the_agreement_of_the_study_is_that_of_its_tables(frames, study):
    result = repeated(frames, seed_1=frames)
    own = result.agreement[result.agreement["pretraining"] == STUDY].set_index("metric")["weighted_kendall"]
    table = study.agreement_of()["weighted_kendall"]
    for metric in ("good", "bad", "parameters", "source_dice", "static_leaderboard", "best_in_hindsight"):
        assert own[metric] == pytest.approx(table[metric])
    assert np.isnan(own["gap"])


def test_movement_is_the_difference_with_the_repeats(frames):
    changed = moved(frames, dice=-0.15, score=0.3)
    result = repeated(frames, seed_1=changed, seed_2=frames)
    rows = result.agreement[result.agreement["metric"] == "good"].set_index("pretraining")
    values = []
    scored = changed.scores[changed.scores["metric"] == "good"]
    for target, truth in changed.truth.groupby("target"):
        dice = truth.groupby("source")["dice"].mean()
        scores = scored[scored["target"] == target].set_index("source")["score"]
        values.append(weighted_kendall(scores[dice.index].to_numpy(), dice.to_numpy()))
    assert rows.loc["seed 1", "weighted_kendall"] == pytest.approx(np.mean(values))
    assert rows.loc["seed 1", "movement"] == pytest.approx(np.mean(values) - rows.loc[STUDY, "weighted_kendall"])
    assert rows.loc["seed 1", "movement"] < -0.05
    assert result.movement("good") == pytest.approx(abs(rows.loc["seed 1", "movement"]) / np.sqrt(2))
    movements = [result.movement(metric) for metric in ("good", "bad")]
    assert result.movement("good", "bad") == pytest.approx(np.sqrt(np.mean(np.square(movements))))


def test_the_spread_between_seeds_is_a_share_of_that_over_the_pool(frames):
    result = repeated(frames, seed_1=moved(frames, score=0.2, dice=0.02))
    rows = result.spread.set_index(["metric", "target"])
    np.testing.assert_allclose(rows.loc["good", "sd"], 0.2 / np.sqrt(2))  # of two values that differ by 0.2
    np.testing.assert_allclose(rows.loc[DICE, "sd"], 0.02 / np.sqrt(2))
    scores = frames.scores.query("metric == 'good' and target == 'liver'")["score"]
    assert rows.loc[("good", "liver"), "pool_sd"] == pytest.approx(scores.std())
    assert result.share("good") == pytest.approx((rows.loc["good", "sd"] / rows.loc["good", "pool_sd"]).mean())


def test_own_dice_and_the_controls_that_read_it(frames):
    result = repeated(frames, seed_1=moved(frames, own=0.3))
    own = result.own.pivot(index="source", columns="pretraining", values="dice")
    assert list(own.index) == list(REPLACED)
    np.testing.assert_allclose(own["seed 1"] - own[STUDY], 0.3)
    assert result.movement("source_dice") > 0
    assert result.movement("parameters") == 0
    assert "source_dice" in result.names(CONTROL)


def test_a_seed_that_replaces_fewer_sources(frames):
    result = repeated_pretraining(
        frames,
        {"seed 1": frames, "seed 2": frames},
        {"seed 1": REPLACED, "seed 2": REPLACED[:1]},
        tune="last",
        reasons=["s06_seed2 lacks runs of truth."],
    )
    assert result.own.groupby("source")["pretraining"].apply(list).to_dict() == {
        "s05": [STUDY, "seed 1", "seed 2"],
        "s06": [STUDY, "seed 1"],
    }
    assert result.reasons == ("s06_seed2 lacks runs of truth.",)


def test_one_table_has_every_value(frames):
    result = repeated(frames, seed_1=moved(frames, score=0.2))
    table = result.table
    assert list(table.columns) == ["part", "metric", "kind", "source", "target", "pretraining", "value"]
    assert table.groupby("part").size().to_dict() == {
        "own_dice": len(result.own),
        **{f"spread_{name}": len(result.spread) for name in ("sd", "pool_sd", "share")},
        **dict.fromkeys(["weighted_kendall", "movement"], len(result.agreement)),
    }
    assert not table[["metric", "kind", "source", "target", "pretraining"]].isna().any(axis=None)
    assert isinstance(table, pd.DataFrame)
