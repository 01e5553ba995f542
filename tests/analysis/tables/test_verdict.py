"""The verdict of planted studies: it says what was planted."""

import numpy as np
import pandas as pd
import pytest

from analysis.evaluation.correlate import correlate
from analysis.tables.study_tables import study_tables
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
    assert "It agrees with the truth." in found.sentences[0]
    assert "It was the best of 2 estimates here" in found.sentences[1]
    assert found.sentences[2].startswith("The best control was the static leaderboard with ")
    assert found.sentences[3].startswith(
        "Results are over 5 targets with 12 sources each, against a truth of reliability"
    )


def test_short_fine_tuning_has_a_sentence_with_its_cost_next_to_the_estimates(trained):
    rows, found = trained.agreement_of(), verdict(trained)
    [sentence] = [sentence for sentence in found.sentences if sentence.startswith("Short fine-tuning")]
    row = rows.loc["fine_tuning_eighth"]
    interval = f"{row['weighted_kendall']:.2f} [{row['weighted_kendall_low']:.2f}, {row['weighted_kendall_high']:.2f}]"
    assert sentence == (  # an estimate costs 0.5 s
        f"Short fine-tuning, 1/8 of the steps, each seed judged by the others, has weighted Kendall {interval} and "
        "costs 20.0 s per source, 40 times the mean cost of an estimate (0.5 s); the best estimate, CC-FV, has "
        f"{rows.loc['ccfv', 'weighted_kendall']:.2f}."
    )
    assert found.sentences[1] == "It was the best of 2 estimates here."
    assert found.findings["short fine-tuning, 1/2"].startswith("agrees with the truth")
    assert "; the best estimate, CC-FV, has" in verdict(trained, metric="gap").text
    assert f" and bad {rows.loc['bad', 'weighted_kendall']:.2f}." in verdict(trained, metric="bad").text


def test_every_planted_metric_is_called_what_it_is(judged):
    found = verdict(judged).findings
    assert found["ccfv"].startswith("agrees with the truth")
    assert found["bad"].startswith("ranks the sources in reverse")
    assert found["constant"] == "undefined on colon, kidney, liver, lung, spleen: all scores are alike"
    assert found["gap"] == ("undefined on liver: no score for 1 of 12 sources: s03 (class 1 in fewer than two cases)")
    assert found["static_leaderboard"].startswith("agrees with the truth, as well as a perfect predictor would")
    assert found["random"].startswith("no agreement was shown")


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
    assert undefined.sentences[0].startswith("The agreement of gap is undefined on liver: no score for 1 of 12 sources")
    assert "The best of 2 estimates here was good" in undefined.text
    assert "Corrected for having looked at all of them, it agrees with the truth (p = " in undefined.text


def many_that_tell_nothing(seed, *, metrics):
    """A study of metrics that are independent of the Dice; ccfv is one of them."""
    truth, scores, sources = planted_noise(seed, metrics=metrics)
    return correlate(truth, scores, sources, resamples=300)


def planted_noise(seed, *, metrics):
    generator = np.random.default_rng(seed)
    names, targets = [f"s{place:02d}" for place in range(13)], ("t0", "t1", "t2", "t3", "t4")
    level = generator.normal(size=13)
    dice = {(name, target): 0.5 + 0.05 * (value + 0.3 * generator.normal()) for target in targets
            for name, value in zip(names, level, strict=True)}  # fmt: skip
    truth = [(name, target, seed, "all", value + 0.002 * generator.normal())
             for (name, target), value in dice.items() for seed in range(2)]  # fmt: skip
    scores = []
    for metric in ("ccfv", *(f"m{place:02d}" for place in range(metrics - 1))):
        own = generator.normal(size=13)
        scores += [(name, target, metric, value + 0.3 * generator.normal(), "", 1.0) for target in targets
                   for name, value in zip(names, own, strict=True)]  # fmt: skip
    sources = pd.DataFrame({"source": names, "task": "brain", "arch": "unet", "width": 8, "length": "long"})
    return (
        pd.DataFrame(truth, columns=["source", "target", "seed", "tune", "dice"]),
        pd.DataFrame(scores, columns=["source", "target", "metric", "score", "reason", "seconds"]),
        sources.assign(parameters=generator.permutation(13), source_dice=0.5, source_cases=9),
    )


def test_the_best_of_many_that_tell_nothing_is_not_called_agreement():
    study = many_that_tell_nothing(4, metrics=20)
    rows = study.agreement_of()
    best = rows[rows["kind"] == "metric"].iloc[0]
    assert best["weighted_kendall_p"] < 0.05  # looks significant by itself
    assert best["weighted_kendall_p_max"] > 0.05
    sentence = next(sentence for sentence in verdict(study).sentences if "The best of 20 estimates" in sentence)
    assert "Corrected for having looked at all of them, no agreement was shown (p = " in sentence
    assert f"the best of as many by chance is {study.best_by_chance.mean:.2f} on average" in sentence


def test_the_named_metric_is_not_corrected():
    study = moving(0, good=True)
    assert verdict(study).sentences[0].endswith("It agrees with the truth.")


def test_below_six_sources_the_verdict_has_no_interval_to_go_by(planted):
    truth, scores, sources = planted
    few = ["s02", "s05", "s08", "s11"]
    frames = (
        frame[frame["source"].isin(few)].replace({"metric": {"good": "ccfv"}}) for frame in (truth, scores, sources)
    )
    study = correlate(*frames, resamples=50)
    row = study.agreement_of().loc["ccfv"]
    assert np.isnan(row["weighted_kendall_low"])
    assert row["interval_reason"] == "4 sources, an interval of weighted_kendall needs 6"
    assert "It has no interval (4 sources, an interval of weighted_kendall needs 6)." in verdict(study).sentences[0]
    [table] = [table for table in study_tables(study) if table.title.startswith("Agreement")]
    assert any("4 sources, an interval of weighted Kendall needs 6." in note for note in table.notes)
    assert study.differences.reason
