"""The result of `correlate` as frames, from which tables, plots and the tracking store are filled."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from analysis.truth.dispersion import Dispersion
from analysis.truth.pools import Pool

MEAN = "mean"
MEAN_BY_SCAN = "mean_by_scan"
FINE_TUNING = "fine-tuning"
MEANS = (MEAN, MEAN_BY_SCAN)
ALL = "all"
WITHOUT_WEAK = "without_weak"
SUBSETS = {ALL: "all sources", WITHOUT_WEAK: "without scratch and short sources"}


@dataclass(frozen=True)
class Study:
    """The agreement of every metric and control with the truth, and the quality of that truth.

    Attributes:
        tune: What was fine-tuned in the main study.
        pools: The truth of each target, tuned that way.
        other_pools: The truth of pools with another choice of what is tuned; they have own rows and enter no mean.
        scores: Columns source, target, metric, score, reason, seconds, kind ("metric" or "control").
        sources: The frame of the sources, as given.
        agreement: One row per subset, target (or `mean`, `mean_by_scan`), tune and metric;
            `analysis.evaluation.rows.agreement_row`.
        reliability: One row per subset, target (or mean) and tune; `analysis.evaluation.rows.reliability_row`.
        comparisons: One row per subset, target (or mean), tune, measure, metric and other;
            `analysis.evaluation.compare`.
        stability: One row per sub-pool and metric, means over targets; `analysis.evaluation.pool_stability`.
        ranks: One row per source, its ranks by the truth over targets; `analysis.truth.dispersion.rank_table`.
        dispersion: How much those ranks vary.
        gaps: One row per missing score: metric, kind, target, source, reason.
        scans: Target -> the scan that its cases come from; empty if unknown.
        resamples: The number of bootstrap draws and permutations.
        seed: The seed of all draws.
        truth_from: Where the truth comes from: `FINE_TUNING`, or the name of a table.
    """

    tune: str
    pools: tuple[Pool, ...]
    other_pools: tuple[Pool, ...]
    scores: pd.DataFrame
    sources: pd.DataFrame
    agreement: pd.DataFrame
    reliability: pd.DataFrame
    comparisons: pd.DataFrame
    stability: pd.DataFrame
    ranks: pd.DataFrame
    dispersion: Dispersion
    gaps: pd.DataFrame
    scans: Mapping[str, str]
    resamples: int
    seed: int
    truth_from: str = FINE_TUNING

    def agreement_of(self, target: str = MEAN, *, subset: str = ALL) -> pd.DataFrame:
        """The rows of one target or mean in the main study, indexed by metric.

        Metrics come before controls, both in descending order of weighted Kendall, NaN last.
        """
        rows = self.agreement
        rows = rows[(rows["target"] == target) & (rows["subset"] == subset) & (rows["tune"] == self.tune)]
        rows = rows.sort_values(["kind", "weighted_kendall"], ascending=[False, False], kind="stable")
        return rows.set_index("metric")

    def agreement_targets(self, metric: str, *, subset: str = ALL) -> pd.DataFrame:
        """The rows of one metric or control on the targets of the main study, indexed by target, in pool order."""
        rows = self.agreement
        rows = rows[(rows["metric"] == metric) & (rows["subset"] == subset) & (rows["tune"] == self.tune)]
        return rows[~rows["target"].isin(MEANS)].set_index("target")

    def reliability_of(self, target: str = MEAN, *, subset: str = ALL) -> "pd.Series[float]":
        """The row of `reliability` of one target or mean in the main study.

        Raises:
            ValueError: There is no such row.
        """
        rows = self.reliability
        rows = rows[(rows["target"] == target) & (rows["subset"] == subset) & (rows["tune"] == self.tune)]
        if len(rows) != 1:
            raise ValueError(f"`target` and `subset` must name a row of the study, got {target!r} and {subset!r}")
        return rows.iloc[0]

    def comparison(
        self, metric: str, other: str, *, target: str = MEAN, measure: str = "weighted_kendall", subset: str = ALL
    ) -> "pd.Series[float]":
        """The row of `comparisons` of one metric with another, ccfv or static_leaderboard, in the main study.

        Raises:
            ValueError: There is no such row.
        """
        wanted = {"metric": metric, "other": other, "target": target, "measure": measure, "subset": subset}
        wanted["tune"] = self.tune
        rows = self.comparisons
        if len(rows):
            rows = rows[(rows[list(wanted)] == pd.Series(wanted)).all(axis=1)]
        if len(rows) != 1:
            raise ValueError(f"the study must compare {metric!r} with {other!r} on {target!r}, got {len(rows)} rows")
        return rows.iloc[0]
