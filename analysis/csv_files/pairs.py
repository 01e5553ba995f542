"""The pairs of source and target on which every estimate and control is compared, and the pairs that are left out."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.csv_files.estimates import EstimateTable
from analysis.tables.number_format import counted
from analysis.truth.pools import FEWEST_SOURCES, Pool, pools
from analysis.truth.truth_table import TruthTable
from benchmark.errors import InputError, listed

LEFT_OUT = ("source", "target", "reason")
Pair = tuple[str, str]


@dataclass(frozen=True)
class Pairs:
    """The pairs that are compared.

    Attributes:
        compared: Columns source, target.
        left_out: Columns source, target, reason: the pairs of either file that are not compared.
    """

    compared: pd.DataFrame
    left_out: pd.DataFrame

    @property
    def text(self) -> str:
        """How many pairs are compared, and how many are left out."""
        sources, targets = (self.compared[column].nunique() for column in ("source", "target"))
        compared = f"{counted(len(self.compared), 'pair')} of {sources} sources and {counted(targets, 'target')}"
        left = f"{counted(len(self.left_out), 'pair')} {'is' if len(self.left_out) == 1 else 'are'} left out"
        return f"{compared}; {left}" if len(self.left_out) else compared


def pairs_of(truth: TruthTable, estimates: EstimateTable | None) -> Pairs:
    """The pairs that have a value in the truth and a score of every estimate.

    A target on which fewer than three such sources remain is left out, because no agreement is defined there.

    Args:
        truth: The truth.
        estimates: The estimates, if there are any.

    Raises:
        InputError: No target remains although there are estimates.
    """
    every = pools(truth.truth)
    known = {(source, pool.target) for pool in every for source in pool.sources}
    reasons = {(source, target): reason for source, target, reason in truth.missing.itertuples(index=False)}
    for pool in every:
        for source, reason in pool.left_out.items():
            reasons.setdefault((source, pool.target), reason)
    common = known
    if estimates is not None:
        lacking = _lacking(known, estimates)
        common = known - set(lacking)
        reasons |= lacking | _only_estimates(known, reasons, truth, estimates)
    small = _small(every, common)
    reasons |= small
    compared = sorted(common - set(small), key=lambda pair: (pair[1], pair[0]))
    if estimates is not None and not compared:
        first = next(iter({**reasons, **small}.items()))
        raise InputError(
            f"{truth.name} and {estimates.name} must have at least {FEWEST_SOURCES} sources with a value and every "
            f"score on one target, got none; such as {first[0][0]} on {first[0][1]}: {first[1]}"
        )
    lines = sorted((target, source, reason) for (source, target), reason in reasons.items())
    left_out = pd.DataFrame([(source, target, reason) for target, source, reason in lines], columns=list(LEFT_OUT))
    return Pairs(pd.DataFrame(compared, columns=["source", "target"]), left_out)


def only(frame: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """The rows of a frame whose source and target are one of the pairs."""
    return frame.merge(pairs, on=["source", "target"], how="inner")


def _lacking(known: Collection[Pair], estimates: EstimateTable) -> dict[Pair, str]:
    """The pairs of the truth that lack the score of an estimate -> the reason."""
    scores = estimates.scores
    scored = {
        metric: set(zip(rows["source"], rows["target"], strict=True)) for metric, rows in scores.groupby("metric")
    }
    anything = set().union(*scored.values())
    empty = {(source, target) for source, target, _ in estimates.empty.itertuples(index=False)}
    reasons = {}
    for pair in known:
        names = [str(metric) for metric, pairs in scored.items() if pair not in pairs]
        if names and pair not in anything and pair not in empty:
            reasons[pair] = "only in the truth"
        elif names:
            reasons[pair] = f"no score of {listed(names)}"
    return reasons


def _only_estimates(
    known: Collection[Pair], reasons: Collection[Pair], truth: TruthTable, estimates: EstimateTable
) -> dict[Pair, str]:
    """The pairs of the estimates that have no row in the truth -> the reason."""
    rows = set(zip(truth.truth["source"], truth.truth["target"], strict=True))
    pairs = {*zip(estimates.scores["source"], estimates.scores["target"], strict=True)}
    pairs |= {(source, target) for source, target, _ in estimates.empty.itertuples(index=False)}
    return dict.fromkeys(sorted(pairs - set(known) - rows), "only in the estimates")


def _small(every: Sequence[Pool], common: Collection[Pair]) -> dict[Pair, str]:
    """The pairs of targets on which fewer than three sources remain -> the reason."""
    small: dict[Pair, str] = {}
    for pool in every:
        kept = [source for source in pool.sources if (source, pool.target) in common]
        if len(kept) < FEWEST_SOURCES:
            number = counted(len(kept), "source")
            small |= dict.fromkeys(
                ((source, pool.target) for source in kept),
                f"{number} can be compared on {pool.target}, at least {FEWEST_SOURCES} are needed",
            )
    return small
