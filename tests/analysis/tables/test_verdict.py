"""The verdict of planted studies: it says what was planted."""

import numpy as np
import pandas as pd
import pytest

from analysis.evaluation.correlate import correlate
from analysis.tables.verdict import verdict


@pytest.fixture(scope="module")
def judged(planted):
    """The planted study with `good` as CC-FV."""
    truth, scores, sources = planted
    return correlate(truth, scores.replace({"metric": {"good": "ccfv"}}), sources, resamples=300)


def moving(seed, *, good):
    """Truth whose ranks are drawn anew for each target, so that the static leaderboard knows nothing; one metric."""
    generator = np.random.default_rng(seed)
    truth, scores = [], []
    for target in ("t0", "t1", "t2", "t3"):
        for place in range(12):
            dice = generator.uniform(0.2, 0.8)
            truth += [(f"s{place:02d}", target, number, "all", dice + 0.01 * generator.normal()) for number in range(2)]
            score = dice if good else generator.normal()
            scores.append((f"s{place:02d}", target, "ccfv", score, "", 1.0))
    names = sorted({row[0] for row in truth})
    sources = pd.DataFrame({"source": names, "task": "brain", "arch": "unet", "width": 8, "length": "long"})
    sources = sources.assign(parameters=generator.permutation(12), source_dice=0.5, source_cases=9)
    return correlate(
        pd.DataFrame(truth, columns=["source", "target", "seed", "tune", "dice"]),
        pd.DataFrame(scores, columns=["source", "target", "metric", "score", "reason", "seconds"]),
        sources,
        resamples=300,
    )


def test_a_metric_behind_a_perfect_leaderboard_did_not_beat_it(judged):
    found, row = verdict(judged), judged.agreement_of().loc["ccfv"]
    assert "CC-FV did not beat the static leaderboard" in found.sentences[0]
    assert f"weighted Kendall {row['weighted_kendall']:.2f}" in found.sentences[0]
    assert f"({100 * row['weighted_kendall_share']:.0f}% of the ceiling of " in found.sentences[0]
    assert "It was the best estimate here, over 5 targets with 12 sources each" in found.sentences[1]


def test_every_planted_metric_is_called_what_it_is(judged):
    found = verdict(judged).findings
    assert found["ccfv"].startswith("agrees with the truth")
    assert found["bad"].startswith("ranks the sources in reverse")
    assert found["constant"] == "undefined on colon, kidney, liver, lung, spleen: all scores are alike"
    assert found["gap"] == ("undefined on liver: no score for 1 of 12 sources: s03 (class 1 in fewer than two cases)")
    assert found["static_leaderboard"].startswith("agrees with the truth, as well as a perfect predictor would")
    assert found["random"].startswith("cannot be distinguished from chance")


def test_a_metric_that_knows_what_no_leaderboard_can_beats_it():
    study = moving(0, good=True)
    assert "CC-FV beat the static leaderboard" in verdict(study).sentences[0]
    assert study.agreement_of().loc["ccfv", "weighted_kendall_share"] > 0.95


def test_noise_against_a_leaderboard_that_knows_nothing_is_undecided():
    sentence = verdict(moving(1, good=False)).sentences[0]
    assert "but the difference may be chance" in sentence or "did not beat the static leaderboard:" in sentence


def test_an_undefined_or_missing_metric_is_told(study):
    missing = verdict(study)
    assert missing.sentences[0] == "CC-FV was not scored in this study."
    undefined = verdict(study, metric="gap")
    assert "The agreement of gap is undefined (undefined on liver)" in undefined.sentences[0]
    assert "The best estimate here was good" in undefined.text
