"""Where another patient contradicts the target's own scan, a sentence says so before everything else."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.evaluation.correlate import correlate
from analysis.tables.other_patient import other_patient_sentences
from analysis.tables.study_tables import target_table
from analysis.tables.truth_tables import gain_table_of, truth_table
from analysis.tables.verdict import verdict
from analysis.truth.pools import Scope, with_other_patient

SOURCES = ("scratch", *(f"s{place}" for place in range(1, 8)))


def on_two_patients(*, other):
    """A study of one target: Dice 0.3 from scratch and 0.4, 0.42, ... pre-trained; ccfv ranks it perfectly.

    `other` is the Dice of the sources on another patient.
    """
    own = [0.3, *(0.4 + 0.02 * place for place in range(7))]
    rows = [
        (source, "liver", seed, "all", dice + 0.001 * seed, there + 0.001 * seed)
        for seed in (0, 1)
        for source, dice, there in zip(SOURCES, own, other, strict=True)
    ]
    truth = pd.DataFrame(rows, columns=["source", "target", "seed", "tune", "dice", "external_dice"])
    scores = pd.DataFrame({"source": SOURCES, "target": "liver", "metric": "ccfv", "score": own})
    sources = pd.DataFrame({"source": SOURCES, "task": "brain", "arch": "unet", "width": 8})
    sources = sources.assign(length=["scratch", *["long"] * 7], parameters=9, source_dice=0.5, source_cases=9)
    return correlate(with_other_patient(truth), scores.assign(reason="", seconds=1.0), sources, resamples=100)


@pytest.fixture(scope="module")
def opposite():
    """On another patient all pre-trained sources are worse than scratch, and the best here is the worst there."""
    return on_two_patients(other=[0.3, *(0.28 - 0.02 * place for place in range(7))])


@pytest.fixture(scope="module")
def alike():
    return on_two_patients(other=[0.2, *(0.3 + 0.02 * place for place in range(7))])


def test_an_opposite_gain_and_agreement_come_first_in_the_verdict(opposite):
    # own gain: mean of 0.40 .. 0.52 minus 0.30; on another patient: mean of 0.28 .. 0.16 minus 0.30
    first, second, third = verdict(opposite).sentences[:3]
    assert first.startswith(
        "On another patient, the gain of pre-training over scratch on liver has the opposite sign: -0.080 ["
    )
    assert "] Dice against +0.160 [" in first
    assert first.endswith("] on the target's own scan.")
    own = opposite.agreement_of("liver").loc["ccfv", "weighted_kendall"]
    assert own == pytest.approx(1)
    assert second == (
        "On another patient, the agreement of CC-FV on liver has the opposite sign: weighted Kendall -1.00 against "
        "1.00 on the target's own scan."
    )
    assert third.startswith("CC-FV ")


def test_one_sentence_says_that_the_signs_are_the_same(alike):
    assert verdict(alike).sentences[0] == (
        "On another patient, the gain of pre-training over scratch on liver and the agreement of CC-FV on liver have "
        "the same sign as on the target's own scan."
    )


def gain_of(study, gain, low, high, *, own=None):
    """The study with another gain of all sources on the other patient, and optionally on the own scan."""
    rows = study.gain.copy()
    for name, values in (("liver (other patient)", (gain, low, high)), ("liver", own)):
        if values:
            rows.loc[rows["target"] == name, ["gain", "gain_low", "gain_high"]] = values
    return replace(study, gain=rows)


def test_a_gain_that_is_not_shown_on_the_other_patient_is_a_contradiction(alike):
    [sentence] = other_patient_sentences(gain_of(alike, 0.01, -0.02, 0.04, own=(0.05, 0.01, 0.09)), estimates={})
    assert sentence == (
        "On another patient, the gain of pre-training over scratch on liver is not clearly different from 0: "
        "+0.010 [-0.020, +0.040] Dice against +0.050 [+0.010, +0.090] on the target's own scan."
    )


def test_opposite_gains_that_may_both_be_chance_are_called_that(alike):
    [sentence] = other_patient_sentences(gain_of(alike, -0.01, -0.02, 0.04, own=(0.01, -0.05, 0.09)), estimates={})
    assert sentence.endswith("on the target's own scan, though neither differs clearly from 0.")


def test_what_is_undefined_is_not_compared(alike):
    unknown = gain_of(alike, np.nan, np.nan, np.nan)
    assert other_patient_sentences(unknown, estimates={"ccfv": "CC-FV"}) == [
        "On another patient, the agreement of CC-FV on liver has the same sign as on the target's own scan.",
        "Not compared with another patient, as undefined: the gain on liver.",
    ]
    assert other_patient_sentences(unknown, estimates={}) == [
        "Another patient's Dice on liver could not be compared: gain and agreement are undefined."
    ]


def test_a_study_without_another_patient_has_no_sentence(study):
    assert other_patient_sentences(study, estimates={"good": "good"}) == []


def test_tables_have_rows_of_the_other_patient_that_enter_no_mean(opposite):
    assert target_table(opposite).columns == ("metric", "liver", "liver (other patient)")
    cells = {row[0]: row[1:] for group in target_table(opposite).groups for row in group}
    assert cells["ccfv"] == ("1.00", "-1.00")
    truth = truth_table(opposite)
    assert [row[:2] for row in truth.groups[-1]] == [("liver (other patient)", "all")]
    gains = [row[0] for group in gain_table_of(opposite).groups for row in group]
    assert gains[-1] == "liver (other patient)"
    means = opposite.gain[opposite.gain["scope"] == Scope.MEAN]
    assert means["gain"].to_numpy() == pytest.approx(0.16)
