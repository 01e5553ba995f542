"""Where the Dice of another patient contradicts that of the target's own scan, in words.

Where a source was pre-trained on the scan that a target's cases derive from, its gain may be memory of that scan, which
does not help another patient. So the gain over scratch and the agreement of the named estimates are compared between
the two: by their sign, and for the gain by whether it was shown at all (its interval is above or below 0).
"""

from collections.abc import Collection, Mapping
from functools import partial

import numpy as np

from analysis.evaluation.study import ALL, Study
from analysis.tables.number_format import number, with_interval
from analysis.tables.tables import Row
from analysis.truth.gain import EVERY
from analysis.truth.pools import OTHER_PATIENT, Scope, place_name

PRIMARY = "weighted_kendall"


def other_patient_sentences(study: Study, *, estimates: Mapping[str, str]) -> list[str]:
    """A sentence for each contradiction between the own scan and another patient, or one that there is none.

    Args:
        study: The study.
        estimates: Metric whose agreement is compared -> its name in the sentences.

    Returns:
        The sentences; empty if no target of the study has another patient.
    """
    targets = [pool.target for pool in study.other_pools if pool.tune == study.tune + OTHER_PATIENT]
    if not targets:
        return []
    gains = {target: pair for target in targets if (pair := _gains(study, target))}
    agreements = {
        (name, target): values
        for metric, name in estimates.items()
        for target in targets
        if (values := _agreements(study, metric, target))
    }
    on_gain = (_on_gain(target, *pair, study.measure_name) for target, pair in gains.items())
    on_agreement = (_on_agreement(name, target, *values) for (name, target), values in agreements.items())
    sentences = [sentence for sentence in (*on_gain, *on_agreement) if sentence]
    if not gains and not agreements:
        places = " and ".join(targets)
        return [f"Another patient's Dice on {places} could not be compared: gain and agreement are undefined."]
    lacking = [f"the gain on {target}" for target in targets if target not in gains]
    lacking += [
        f"the agreement of {name} on {target}"
        for name in estimates.values()
        for target in targets
        if (name, target) not in agreements
    ]
    told = sentences or [_no_contradiction(gains, agreements)]
    return [*told, *([f"Not compared with another patient, as undefined: {', '.join(lacking)}."] if lacking else [])]


def _gains(study: Study, target: str) -> tuple[Row, Row] | None:
    """The rows of the gain of all pre-trained sources on the own scan and on another patient; None if one is NaN."""
    rows = study.gain
    rows = rows[(rows["arch"] == EVERY) & (rows["sources_of"] == EVERY) & (rows["scope"] == Scope.TARGET)]
    rows = rows[rows["gain"].notna()]
    by_target = {str(row["target"]): row for row in rows.to_dict("records")}
    other = place_name(target, study.tune + OTHER_PATIENT, main=study.tune)
    return (by_target[target], by_target[other]) if {target, other} <= set(by_target) else None


def _agreements(study: Study, metric: str, target: str) -> tuple[float, float] | None:
    """Weighted Kendall with the Dice on the own scan and on another patient; None if one is NaN."""
    rows = study.agreement
    rows = rows[(rows["metric"] == metric) & (rows["subset"] == ALL) & (rows["scope"] == Scope.TARGET)]
    values = rows[rows["target"] == target].set_index("tune")[PRIMARY].astype(float)
    own, other = (float(values.get(tune, np.nan)) for tune in (study.tune, study.tune + OTHER_PATIENT))
    return None if np.isnan([own, other]).any() else (own, other)


def _on_gain(target: str, own: Row, other: Row, measure: str) -> str:
    there, here = (with_interval(row, "gain", partial(number, digits=3, sign="+")) for row in (other, own))
    what = f"On another patient, the gain of pre-training over scratch on {target}"
    values = f"{there} {measure} against {here} on the target's own scan"
    if np.sign(own["gain"]) != np.sign(other["gain"]):
        chance = "" if _is_shown(own) or _is_shown(other) else ", though neither differs clearly from 0"
        return f"{what} has the opposite sign: {values}{chance}."
    if _is_shown(own) and not _is_shown(other):
        return f"{what} is not clearly different from 0: {values}."
    return ""


def _on_agreement(name: str, target: str, own: float, other: float) -> str:
    if np.sign(own) == np.sign(other):
        return ""
    return (
        f"On another patient, the agreement of {name} on {target} has the opposite sign: weighted Kendall "
        f"{number(other)} against {number(own)} on the target's own scan."
    )


def _no_contradiction(gains: Collection[str], agreements: Collection[tuple[str, str]]) -> str:
    """What has the same sign for both patients: the gain on targets, and the agreement of (estimate, target)."""
    names = list(dict.fromkeys(name for name, _ in agreements))
    places = {name: [target for other, target in agreements if other == name] for name in names}
    compared = [f"the gain of pre-training over scratch on {' and '.join(gains)}"] if gains else []
    compared += [f"the agreement of {name} on {' and '.join(places[name])}" for name in names]
    verb = "have" if len(compared) > 1 else "has"
    listed = f"{', '.join(compared[:-1])} and {compared[-1]}" if len(compared) > 1 else compared[0]
    return f"On another patient, {listed} {verb} the same sign as on the target's own scan."


def _is_shown(row: Row) -> bool:
    """Whether the interval is above or below 0."""
    return bool(row["gain_low"] > 0 or row["gain_high"] < 0)
