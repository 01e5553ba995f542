"""Simulate what intervals, p-values and ceilings hold on pools with known properties; `python -m analysis.coverage`.

Each simulation of conf/coverage.yaml draws pools, applies the functions of the analysis to them and prints its
quantities with what is required of them. The exit code is 1 if a quantity misses its bounds, unless `not_reached` of
conf/coverage.yaml lists it.
"""

import sys
from pathlib import Path

import pandas as pd
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.progress import track

from analysis.simulation.quantity import Effort
from analysis.simulation.results import KnownMiss, SimulatedQuantity, misses, result_tables, simulate
from benchmark.errors import InputError
from benchmark.jobs.cli import entry_point
from benchmark.jobs.terminal import wide_console

FELL_SHORT = 1  # exit code


def run(cfg: DictConfig) -> None:
    """Run every simulation, print and write the results, and exit with code 1 if a bound is missed."""
    if not cfg.simulations:
        raise InputError("`simulations` must have an entry, got none")
    simulations = instantiate(cfg.simulations, _convert_="all")
    known = [KnownMiss(**miss) for miss in cfg.not_reached]
    effort = Effort(int(cfg.pools), int(cfg.resamples), int(cfg.permutations))
    rows: list[SimulatedQuantity] = []
    parts = sum(len(simulation.parts()) for simulation in simulations.values())
    console = wide_console()
    results = simulate(simulations, effort, seed=int(cfg.seed), workers=int(cfg.workers))
    for quantities in track(results, "settings", total=parts, console=console, transient=True):
        rows += quantities
    path = Path(cfg.output_dir) / "coverage.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame([vars(row) for row in rows]).set_index(["simulation", "setting"]).to_csv(path)
    for printed in result_tables(rows, known):
        console.print(printed)
    console.print(f"written: {path}", highlight=False)
    if short := misses(rows, known):
        sys.stderr.write("fell short:\n" + "".join(f"  {line}\n" for line in short))
        sys.exit(FELL_SHORT)


main = entry_point("coverage", run)


if __name__ == "__main__":
    main()
