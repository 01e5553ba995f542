"""Simulate the coverage of the intervals and the p-values under the null; `python -m analysis.coverage`.

Scores and Dice of many pools are drawn from a bivariate normal distribution with a known correlation. An interval must
contain the mean of the measure over pools of that size; for Pearson this is the correlation itself. Two metrics with
the same correlation with the Dice are drawn, so the true difference between them is 0. With a correlation of 0 the
p-values must be uniform: the table shows the share below 0.05, the CSV also the p-value of a Kolmogorov-Smirnov test.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omegaconf import DictConfig
from rich import box
from rich.progress import track
from rich.table import Table
from scipy import stats

from analysis.agreement.intervals import Interval, fisher_interval, permutation_p
from analysis.agreement.measure_table import MEASURES, PEARSON, PRIMARY, WEIGHTED_KENDALL, Measure
from analysis.agreement.source_bootstrap import SourceDraws, draw
from benchmark.errors import InputError
from benchmark.jobs.cli import entry_point
from benchmark.jobs.terminal import wide_console

Array = NDArray[np.float64]
FELL_SHORT = 1  # exit code
POOLS = 20_000  # number of pools; the mean of a measure then has a standard error below 0.002
DIFFERENCE = f"difference of {WEIGHTED_KENDALL.name}"
LEAST_P = 0.001  # significance level of the test of uniformity


@dataclass(frozen=True)
class Simulation:
    """A simulation of pools of one size.

    Attributes:
        sources: n, the number of sources in a pool.
        correlation: The correlation of each score with the Dice, in (-1, 1).
        studies: The number of pools.
        resamples: The number of bootstrap draws per pool.
        permutations: The number of permutations per pool.
        seed: The seed of all draws.
    """

    sources: int
    correlation: float
    studies: int
    resamples: int
    permutations: int
    seed: int

    def run(self) -> pd.DataFrame:
        """Run the simulation.

        Returns:
            One row per measure, and one for the difference of two metrics: sources, measure, truth, coverage,
            missed_low (the truth is below the interval), missed_high, width, and for the primary measures p_below_05
            and p_uniform.
        """
        generator = np.random.default_rng((self.seed, self.sources))
        truth = self._truth(generator)
        ends = {name: np.empty((self.studies, 2)) for name in truth}
        scores, dice = normal_pools(self.studies, self.sources, self.correlation, generator)
        for study in track(range(self.studies), f"{self.sources} sources", transient=True):
            draws = draw(self._names, resamples=self.resamples, generator=generator)
            for name, interval in self._intervals(scores[:, study], dice[study], draws).items():
                ends[name][study] = interval.low, interval.high
        rows = pd.DataFrame([self._row(name, truth[name], values) for name, values in ends.items()])
        return rows.merge(self._null(generator), how="left", on="measure")

    @property
    def _names(self) -> list[str]:
        return [f"{place:03d}" for place in range(self.sources)]

    def _truth(self, generator: np.random.Generator) -> dict[str, float]:
        scores, dice = normal_pools(POOLS, self.sources, self.correlation, generator)
        return {measure.name: float(measure.of_rows(scores[0], dice).mean()) for measure in MEASURES} | {
            PEARSON.name: self.correlation,
            DIFFERENCE: 0.0,
        }

    def _intervals(self, scores: Array, dice: Array, draws: SourceDraws) -> dict[str, Interval]:
        intervals = {PEARSON.name: fisher_interval(PEARSON.of_pool(scores[0], dice), self.sources)}
        resampled = {m.name: m.of_resamples(scores[0], dice, draws.counts) for m in MEASURES if m is not PEARSON}
        intervals |= {m.name: m.interval(resampled[m.name], self.sources) for m in MEASURES if m is not PEARSON}
        other = WEIGHTED_KENDALL.of_resamples(scores[1], dice, draws.counts)
        return intervals | {
            DIFFERENCE: WEIGHTED_KENDALL.interval(resampled[WEIGHTED_KENDALL.name] - other, self.sources)
        }

    def _row(self, name: str, truth: float, ends: Array) -> dict[str, str | float]:
        low, high = ends.T
        rounding = 1e-12  # if all resamples agree perfectly, the ends are 1 up to rounding
        below, above = float((truth < low - rounding).mean()), float((truth > high + rounding).mean())
        row: dict[str, str | float] = {"sources": self.sources, "measure": name, "truth": truth}
        row |= {"coverage": 1 - below - above, "missed_low": below, "missed_high": above}
        return row | {"width": float((high - low).mean())}

    def _null(self, generator: np.random.Generator) -> pd.DataFrame:
        scores, dice = normal_pools(self.studies, self.sources, 0.0, generator)
        values: dict[str, list[float]] = {measure.name: [] for measure in PRIMARY}
        for x, y in zip(scores[0], dice, strict=True):
            permuted = y[draw(self._names, resamples=self.permutations, generator=generator).permutations]
            for measure in PRIMARY:
                values[measure.name].append(_p(measure, x, y, permuted))
        return pd.DataFrame(
            [
                {
                    "measure": name,
                    "p_below_05": float((np.array(p) <= 0.05).mean()),
                    "p_uniform": float(stats.kstest(p, "uniform").pvalue),
                }
                for name, p in values.items()
            ]
        )


def normal_pools(number: int, n: int, correlation: float, generator: np.random.Generator) -> tuple[Array, Array]:
    """Draw pools of two metrics with the same correlation with the Dice, independent given the Dice.

    Args:
        number: The number of pools.
        n: The number of sources per pool.
        correlation: The correlation, in (-1, 1).
        generator: Source of randomness.

    Returns:
        Scores (2, number, n), and Dice (number, n) with mean 0.5 and standard deviation 0.1.
    """
    dice = generator.standard_normal((number, n))
    noise = generator.standard_normal((2, number, n))
    return correlation * dice + np.sqrt(1 - correlation**2) * noise, 0.5 + 0.1 * dice


def misses(coverage: pd.DataFrame, bounds: Mapping[int, Sequence[float]]) -> list[str]:
    """List coverage outside its bounds, and p-values that are not uniform.

    Args:
        coverage: Rows of `Simulation.run`.
        bounds: Sources -> minimum and maximum coverage.

    Returns:
        One line per failure.
    """
    failures = []
    for _, row in coverage.iterrows():
        low, high = bounds[row["sources"]]
        if not low <= row["coverage"] <= high:
            failures.append(f"{row['measure']} at {row['sources']} sources covers {row['coverage']:.1%}")
        if row["p_uniform"] < LEAST_P:
            failures.append(f"p-values of {row['measure']} at {row['sources']} sources are not uniform")
    return failures


def run(cfg: DictConfig) -> None:
    """Simulate every size, print and write the table, and exit with code 1 if a bound is missed."""
    if not -1 < cfg.correlation < 1:
        raise InputError(f"correlation must be between -1 and 1, got {cfg.correlation}")
    if unbound := [size for size in cfg.sizes if size not in cfg.bounds]:
        raise InputError(f"bounds must have an entry for each of sizes, missing {', '.join(map(str, unbound))}")
    bounds = {int(size): tuple(cfg.bounds[size]) for size in cfg.sizes}
    fixed = (float(cfg.correlation), int(cfg.studies), int(cfg.resamples), int(cfg.permutations), int(cfg.seed))
    coverage = pd.concat([Simulation(size, *fixed).run() for size in bounds], ignore_index=True)
    path = Path(cfg.output_dir) / "coverage.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    coverage.to_csv(path, index=False)
    console = wide_console()
    console.print(coverage_table(coverage, bounds))
    console.print(f"written: {path}", highlight=False)
    if short := misses(coverage, bounds):
        sys.stderr.write(f"fell short: {'; '.join(short)}\n")
        sys.exit(FELL_SHORT)


def coverage_table(coverage: pd.DataFrame, bounds: Mapping[int, Sequence[float]]) -> Table:
    """The table for the terminal: one row per measure, with the coverage of each size and the p-values under the null.

    Args:
        coverage: Rows of `Simulation.run`.
        bounds: Sources -> minimum and maximum coverage.

    Returns:
        The table.
    """
    table = Table(title="Coverage of 95% intervals, and p-values under the null", box=box.SIMPLE_HEAD)
    table.add_column("measure", no_wrap=True)
    for size, (low, high) in bounds.items():
        table.add_column(f"n = {size}\n{low:.0%}-{high:.0%}", justify="right")
        table.add_column("p <= .05", justify="right")
    for measure, rows in coverage.groupby("measure", sort=False):
        cells = []
        for _, row in rows.iterrows():
            share = "" if np.isnan(row["p_below_05"]) else f"{row['p_below_05']:.1%}"
            cells += [f"{row['coverage']:.1%}", share]
        table.add_row(str(measure), *cells)
    return table


def _p(measure: Measure, x: Array, y: Array, permuted: Array) -> float:
    return permutation_p(measure.of_pool(x, y), measure.of_rows(x, permuted))


main = entry_point("coverage", run)


if __name__ == "__main__":
    main()
