"""The result of `correlate` as frames, from which tables, plots and the tracking store are filled."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

from analysis.agreement.best_of_many import BestByChance
from analysis.agreement.critical_difference import CriticalDifference
from analysis.evaluation.kinds import KINDS
from analysis.evaluation.repeated import RepeatedPretraining
from analysis.truth.dispersion import Dispersion
from analysis.truth.pools import Pool, Scope, measure_name

if TYPE_CHECKING:
    from analysis.evaluation.race_replay import RaceReplay

FINE_TUNING = "fine-tuning"
ALL = "all"
WITHOUT_WEAK = "without_weak"
WITHIN_FAMILIES = "within_families"
SUBSETS = {
    ALL: "all sources",
    WITHOUT_WEAK: "without scratch and short sources",
    WITHIN_FAMILIES: "within families, mean over families",
}


@dataclass(frozen=True)
class Study:
    """The agreement of every metric and control with the truth, and the quality of that truth.

    Attributes:
        tune: What was fine-tuned in the main study.
        pools: The truth of each target, tuned that way.
        other_pools: The truth of pools with another choice of what is tuned, or with the Dice of another patient; they
            have own rows and enter no mean.
        scores: Columns source, target, metric, score, reason, seconds, kind (of `analysis.evaluation.kinds`).
        sources: The frame of the sources, as given.
        agreement: One row per subset, target or mean, tune and metric; `analysis.evaluation.rows.agreement_row`. The
            column `scope`, a `Scope`, says which; the column `target` is empty for means.
        reliability: One row per subset, target or mean, and tune; `analysis.evaluation.rows.reliability_row`.
        gain: The gain over training from scratch, by target and architecture; `analysis.truth.gain`.
        differences: The critical difference between all metrics and controls.
        best_by_chance: How high the best metric's weighted Kendall, mean over targets, gets by chance; with several
            families, above what telling these apart gives.
        comparisons: One row per subset, target or mean, tune, measure, metric and other;
            `analysis.evaluation.compare`.
        stability: One row per sub-pool and metric, means over targets; `analysis.evaluation.pool_stability`.
        ranks: One row per source, its ranks by the truth over targets; `analysis.truth.dispersion.rank_table`.
        dispersion: How much those ranks vary.
        gaps: One row per missing score: metric, kind, target, source, reason.
        scans: Target -> the scan that its cases come from; empty if unknown.
        resamples: The number of bootstrap draws and permutations.
        seed: The seed of all draws.
        truth_from: Where the truth comes from: `FINE_TUNING`, or the name of a table.
        measure: The column of the table that has the truth.
        group: What several targets can have in common, in words: a scan, or a group that the table names.
        rungs: The Dice on validation cases during fine-tuning, as given; empty if there are none.
        budget: Scratch at the study's budget and after longer training; `analysis.truth.scratch_budget`. Empty without
            longer training.
        repeated: What changes when sources are pre-trained again; None if none were.
        race: What each way to pick a source costs and loses; None if the truth is not from fine-tunings.
    """

    tune: str
    pools: tuple[Pool, ...]
    other_pools: tuple[Pool, ...]
    scores: pd.DataFrame
    sources: pd.DataFrame
    agreement: pd.DataFrame
    reliability: pd.DataFrame
    gain: pd.DataFrame
    differences: CriticalDifference
    best_by_chance: BestByChance
    comparisons: pd.DataFrame
    stability: pd.DataFrame
    ranks: pd.DataFrame
    dispersion: Dispersion
    gaps: pd.DataFrame
    scans: Mapping[str, str]
    resamples: int
    seed: int
    truth_from: str = FINE_TUNING
    measure: str = "dice"
    group: str = "scan"
    rungs: pd.DataFrame = field(default_factory=pd.DataFrame)
    budget: pd.DataFrame = field(default_factory=pd.DataFrame)
    repeated: RepeatedPretraining | None = None
    race: "RaceReplay | None" = None

    @property
    def measure_name(self) -> str:
        """What the values of the truth are called in tables, on pages and axes: Dice, AUC, F1, ..."""
        return measure_name(self.measure)

    def agreement_of(self, target: str = "", *, mean: Scope = Scope.MEAN, subset: str = ALL) -> pd.DataFrame:
        """The rows of one target, or without a target of a mean, in the main study; indexed by metric.

        In the order of `analysis.evaluation.kinds`, each kind in descending order of weighted Kendall, NaN last.
        """
        rows = self._rows(self.agreement, target, mean, subset)
        places = rows["kind"].map(dict(zip(KINDS, range(len(KINDS)), strict=True)))
        ordered = rows.assign(place=places).sort_values(
            ["place", "weighted_kendall"], ascending=[True, False], kind="stable"
        )
        return ordered.drop(columns="place").set_index("metric")

    def agreement_targets(self, metric: str, *, subset: str = ALL) -> pd.DataFrame:
        """The rows of one metric or control on the targets of the main study, indexed by target, in pool order."""
        rows = self.agreement
        rows = rows[(rows["metric"] == metric) & (rows["subset"] == subset) & (rows["tune"] == self.tune)]
        return rows[rows["scope"] == Scope.TARGET].set_index("target")

    def reliability_of(self, target: str = "", *, mean: Scope = Scope.MEAN, subset: str = ALL) -> "pd.Series[float]":
        """The row of `reliability` of one target, or without a target of a mean, in the main study.

        Raises:
            ValueError: There is no such row.
        """
        rows = self._rows(self.reliability, target, mean, subset)
        if len(rows) != 1:
            raise ValueError(f"`target` and `subset` must name a row of the study, got {target!r} and {subset!r}")
        return rows.iloc[0]

    def comparison(
        self,
        metric: str,
        other: str,
        *,
        target: str = "",
        mean: Scope = Scope.MEAN,
        measure: str = "weighted_kendall",
        subset: str = ALL,
    ) -> "pd.Series[float]":
        """The row of `comparisons` of one metric with another, ccfv or static_leaderboard, in the main study.

        It is that of one target, or without a target of a mean.

        Raises:
            ValueError: There is no such row.
        """
        rows = self.comparisons
        if len(rows):
            rows = self._rows(rows, target, mean, subset)
            rows = rows[(rows["metric"] == metric) & (rows["other"] == other) & (rows["measure"] == measure)]
        if len(rows) != 1:
            place = f"{target!r}" if target else f"the {mean.replace('_', ' ')}"
            raise ValueError(f"the study must compare {metric!r} with {other!r} on {place}, got {len(rows)} rows")
        return rows.iloc[0]

    def _rows(self, table: pd.DataFrame, target: str, mean: Scope, subset: str) -> pd.DataFrame:
        """The rows of one target, or without a target of a mean, in the main study."""
        here = (table["scope"] == (Scope.TARGET if target else mean)) & (table["target"] == target)
        return table[here & (table["subset"] == subset) & (table["tune"] == self.tune)]
