"""The study of CSV files: the frames that `correlate` needs, without a run, a network or a store."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from analysis.agreement.measure_table import PRIMARY
from analysis.csv_files.estimates import ARCHITECTURE_CONTROLS, EstimateTable
from analysis.csv_files.pairs import Pairs, only, pairs_of
from analysis.csv_files.sources import PRETRAINED, UNKNOWN, facts_of
from analysis.evaluation.controls import HINDSIGHT, SCORE_COLUMNS
from analysis.evaluation.correlate import correlate
from analysis.evaluation.kinds import CONTROL
from analysis.evaluation.study import ALL, Study
from analysis.truth.pools import SCRATCH, Scope, measure_name
from analysis.truth.truth_table import TruthTable

ARCHITECTURE, ARCHITECTURE_PRETRAINED = ARCHITECTURE_CONTROLS
STATIC = "static_leaderboard"


@dataclass(frozen=True)
class FileStudy:
    """The study of CSV files.

    Attributes:
        study: The study; None if no target has three sources.
        pairs: The pairs that are compared, and those left out.
        notes: What a reader must know of the files, a sentence each.
    """

    study: Study | None
    pairs: Pairs
    notes: tuple[str, ...]


def study_of_files(
    truth: TruthTable,
    estimates: EstimateTable | None,
    sources: pd.DataFrame | None,
    *,
    resamples: int,
    seed: int,
) -> FileStudy:
    """Compare the estimates and the controls with the truth, all on the same pairs.

    Args:
        truth: The truth.
        estimates: The estimates; None to have only the controls.
        sources: The facts of the sources; None for those in the table of the truth.
        resamples: The number of bootstrap draws and permutations.
        seed: The seed of all draws.

    Raises:
        InputError: The files have no pairs in common.
    """
    pairs = pairs_of(truth, estimates)
    if pairs.compared.empty:
        return FileStudy(None, pairs, ())
    names = sorted(pairs.compared["source"].unique())
    facts = facts_of(names, truth.sources if sources is None else sources)
    rows = only(truth.truth, pairs.compared)
    scores = pd.DataFrame(columns=list(SCORE_COLUMNS)) if estimates is None else only(estimates.scores, pairs.compared)
    targets = len(set(rows["target"]))
    single = targets == 1
    if single:
        scores = pd.concat([scores, architecture_controls(rows, facts)], ignore_index=True)
    study = correlate(
        rows,
        scores,
        facts,
        resamples=resamples,
        seed=seed,
        scans={target: group for target, group in truth.groups.items() if target in set(rows["target"])},
        cases=None if truth.cases is None else only(truth.cases, pairs.compared),
        truth_from=truth.name,
        controls=known_controls(facts, targets=targets),
    )
    study = replace(study, measure=truth.measure, group="group")
    notes = [*_notes(truth, sources, names, single), *_on_reliability(study)]
    return FileStudy(study, pairs, tuple(notes))


def known_controls(facts: pd.DataFrame, *, targets: int) -> tuple[str, ...]:
    """The controls for which the facts of the sources suffice.

    Args:
        facts: The frame of the sources.
        targets: The number of targets; with one there is no other target to learn from.

    Example:
        >>> facts = pd.DataFrame({"arch": ["a", "b"], "length": "unknown", "parameters": [1.0, 2.0]})
        >>> known_controls(facts, targets=1)
        ('random', 'parameters')
    """
    architectures = len(set(facts["arch"])) > 1
    pretrained = set(facts["length"]) == {PRETRAINED, SCRATCH}
    others = targets > 1
    chosen = {
        "random": True,
        "parameters": facts["parameters"].notna().any(),
        "family": architectures and others,
        "pretrained": pretrained,
        "family_pretrained": architectures and pretrained and others,
        STATIC: others,
        HINDSIGHT: others,
    }
    return tuple(name for name, known in chosen.items() if known)


def architecture_controls(truth: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """What the architecture alone tells on a single target, as rows of controls; none for a single architecture.

    `architecture` is the mean Dice of the sources of the same architecture, so the truth decides which comes first;
    `architecture_pretrained` puts the pre-trained sources of an architecture before those from scratch.
    """
    if len(set(facts["arch"])) < 2 or (facts["arch"] == UNKNOWN).any():
        return pd.DataFrame(columns=[*SCORE_COLUMNS, "kind"])
    dice = truth.groupby(["source", "target"], as_index=False)["dice"].mean().merge(facts, on="source")
    rows = [dice.assign(metric=ARCHITECTURE, score=dice.groupby("arch")["dice"].transform("mean"))]
    if set(facts["length"]) == {PRETRAINED, SCRATCH}:
        places = dice.groupby("arch")["dice"].transform("mean").rank(method="dense")
        pretrained = (dice["length"] == PRETRAINED).astype(float)
        rows.append(dice.assign(metric=ARCHITECTURE_PRETRAINED, score=places + pretrained / 2))
    frame = pd.concat(rows, ignore_index=True).assign(reason="", seconds=0.0, kind=CONTROL)
    columns: pd.DataFrame = frame[[*SCORE_COLUMNS, "kind"]]
    return columns


def reliability_where_defined(study: Study) -> "pd.Series[float]":
    """The mean of reliability and ceiling over the targets on which they are defined; `targets` is their number."""
    rows = study.reliability
    rows = rows[(rows["scope"] == Scope.TARGET) & (rows["subset"] == ALL) & rows["kendall"].notna()]
    names = [f"{measure.name}{end}" for measure in PRIMARY for end in ("", "_ceiling")]
    means: pd.Series[float] = pd.concat([rows[names].astype(float).mean(), pd.Series({"targets": float(len(rows))})])
    return means


def unreliable_targets(study: Study) -> dict[str, str]:
    """The targets whose reliability is not defined -> the reason."""
    rows = study.reliability
    rows = rows[(rows["scope"] == Scope.TARGET) & (rows["subset"] == ALL) & rows["kendall"].isna()]
    return {str(target): str(reason) for target, reason in rows[["target", "reason"]].itertuples(index=False)}


def _on_reliability(study: Study) -> Iterable[str]:
    known = reliability_where_defined(study)
    if 0 < known["targets"] < len(study.pools):
        lacking = "; ".join(f"{target}: {reason}" for target, reason in unreliable_targets(study).items())
        yield (
            f"The reliability of the truth is not defined on every target; over the {known['targets']:.0f} of "
            f"{len(study.pools)} targets on which it is, Kendall's is {known['kendall']:.2f}, and the ceiling of "
            f"weighted Kendall {known['weighted_kendall_ceiling']:.2f} ({lacking})."
        )


def _notes(truth: TruthTable, sources: pd.DataFrame | None, names: Sequence[str], single: bool) -> Iterable[str]:
    if truth.measure != "dice":
        yield f"The truth is {measure_name(truth.measure)}; the notes on methods say Dice, and hold for it as well."
    if truth.percent:
        yield f"The values of {truth.name} are in percent; they are shown as fractions."
    if single:
        yield (
            "There is one target, so there is no static leaderboard and no mean over targets. The controls "
            "architecture and architecture_pretrained see the answer: it decides which architecture comes first."
        )
    if sources is not None and (unknown := sorted(set(names) - set(sources["source"]))):
        yield f"Sources without a row in the file of sources: {', '.join(unknown)}."
    if sources is not None and (unused := sorted(set(sources["source"]) - set(names))):
        yield f"Sources of the file of sources that are not compared: {', '.join(unused)}."
