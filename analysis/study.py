"""What `correlate` finds, as frames: the one thing that tables, plots and the tracking store read."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from analysis.pools import Pool

MEAN = "mean"
MEAN_BY_SCAN = "mean_by_scan"
MEANS = (MEAN, MEAN_BY_SCAN)
ALL = "all"
WITHOUT_WEAK = "without_weak"
SUBSETS = {ALL: "all sources", WITHOUT_WEAK: "without scratch and short sources"}


@dataclass(frozen=True)
class Study:
    """The agreement of every metric and control with the truth, and how good that truth is.

    Attributes:
        tune: What was fine-tuned in the study proper; pools with another choice stand beside it.
        pools: The truth of each target, tuned so.
        beside: The truth of targets tuned otherwise; they have rows of their own and enter no mean.
        scores: Columns source, target, metric, score, reason, seconds, kind ("metric" or "control").
        sources: The frame of the sources, as given.
        agreement: One row a subset, target (or `mean`, `mean_by_scan`), tune and metric; `analysis.rows.agreement_row`.
        reliability: One row a subset, target (or mean) and tune; `analysis.rows.reliability_row`.
        scans: Target -> the scan that its cases come from; empty where nothing is known.
        resamples: How many bootstrap draws and permutations.
        seed: The seed of all draws.
    """

    tune: str
    pools: tuple[Pool, ...]
    beside: tuple[Pool, ...]
    scores: pd.DataFrame
    sources: pd.DataFrame
    agreement: pd.DataFrame
    reliability: pd.DataFrame
    scans: Mapping[str, str]
    resamples: int
    seed: int

    def agreement_of(self, target: str = MEAN, *, subset: str = ALL) -> pd.DataFrame:
        """The rows of one target or mean in the study proper, indexed by metric, metrics before controls.

        Args:
            target: A target, or `mean`, or `mean_by_scan`.
            subset: `all` or `without_weak`.

        Returns:
            The rows, best weighted Kendall first within metrics and within controls, NaN last.
        """
        rows = self.agreement
        rows = rows[(rows["target"] == target) & (rows["subset"] == subset) & (rows["tune"] == self.tune)]
        rows = rows.sort_values(["kind", "weighted_kendall"], ascending=[False, False], kind="stable")
        return rows.set_index("metric")

    def agreement_targets(self, metric: str, *, subset: str = ALL) -> pd.DataFrame:
        """The rows of one metric on the targets of the study proper, means left out, indexed by target.

        Args:
            metric: A metric or control.
            subset: `all` or `without_weak`.

        Returns:
            The rows, targets in the order of the pools.
        """
        rows = self.agreement
        rows = rows[(rows["metric"] == metric) & (rows["subset"] == subset) & (rows["tune"] == self.tune)]
        return rows[~rows["target"].isin(MEANS)].set_index("target")

    def reliability_of(self, target: str = MEAN, *, subset: str = ALL) -> "pd.Series[float]":
        """The row of one target or mean in the study proper.

        Args:
            target: A target, or `mean`, or `mean_by_scan`.
            subset: `all` or `without_weak`.

        Returns:
            The row; its columns are those of `analysis.rows.reliability_row`.

        Raises:
            ValueError: There is no such row.
        """
        rows = self.reliability
        rows = rows[(rows["target"] == target) & (rows["subset"] == subset) & (rows["tune"] == self.tune)]
        if len(rows) != 1:
            raise ValueError(f"`target` and `subset` must name a row of the study, got {target!r} and {subset!r}")
        return rows.iloc[0]
