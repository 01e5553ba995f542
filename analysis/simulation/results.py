"""Runs simulations and says which of their quantities hold, which do not, and which are known not to be reached."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
from rich import box
from rich.table import Table

from analysis.simulation.quantity import Effort, Part, Quantity, Simulation


@dataclass(frozen=True, kw_only=True)
class SimulatedQuantity(Quantity):
    """One row of the results: a quantity with the simulation and the setting that it is of."""

    simulation: str
    setting: str

    @property
    def place(self) -> tuple[str, str, str]:
        """Simulation, setting and quantity."""
        return self.simulation, self.setting, self.quantity


@dataclass(frozen=True)
class KnownMiss:
    """A case that is known not to be reached.

    Attributes:
        simulation: The simulation.
        setting: Its setting.
        quantity: The quantity.
        reason: Why its bounds cannot be reached.
    """

    simulation: str
    setting: str
    quantity: str
    reason: str

    @property
    def place(self) -> tuple[str, str, str]:
        """Simulation, setting and quantity."""
        return self.simulation, self.setting, self.quantity


def simulate(
    simulations: Mapping[str, Simulation], effort: Effort, *, seed: int, workers: int = 1
) -> Iterator[list[SimulatedQuantity]]:
    """Run simulations, setting by setting.

    Each setting has random numbers of its own, so its results do not depend on which others run.

    Args:
        simulations: Name -> simulation.
        effort: How much is drawn.
        seed: The seed of all of them.
        workers: The number of processes.

    Yields:
        The quantities of each setting, in order.
    """
    settings = [
        (name, setting, part)
        for name, simulation in simulations.items()
        for setting, part in simulation.parts().items()
    ]
    run = partial(_quantities, effort, seed)
    if workers == 1:
        yield from map(run, settings)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as processes:
        yield from processes.map(run, settings)


def _quantities(effort: Effort, seed: int, place: tuple[str, str, Part]) -> list[SimulatedQuantity]:
    name, setting, part = place
    generator = np.random.default_rng([seed, zlib.crc32(f"{name}: {setting}".encode())])
    return [
        SimulatedQuantity(**vars(quantity), simulation=name, setting=setting) for quantity in part(effort, generator)
    ]


def misses(rows: Sequence[SimulatedQuantity], known: Sequence[KnownMiss] = ()) -> list[str]:
    """List the quantities outside their bounds that are not known to be, and known misses that no row has.

    Args:
        rows: The results.
        known: Cases that are known not to be reached; those of simulations that did not run are ignored.

    Returns:
        One line per failure.
    """
    declared, ran = {miss.place for miss in known}, {row.simulation for row in rows}
    places = {row.place for row in rows}
    lines = [
        f"{': '.join(row.place)} is {row.value:.3f}, required {_required(row)}"
        for row in rows
        if not row.met and row.place not in declared
    ]
    unknown = [miss for miss in known if miss.simulation in ran and miss.place not in places]
    return lines + [f"`not_reached` names a case that does not exist: {': '.join(miss.place)}" for miss in unknown]


def result_tables(rows: Sequence[SimulatedQuantity], known: Sequence[KnownMiss] = ()) -> list[Table]:
    """One table for the terminal per simulation.

    Args:
        rows: The results.
        known: Cases that are known not to be reached.

    Returns:
        The tables, with setting, quantity, value, its standard error, what is required, and whether it holds.
    """
    reasons = {miss.place: miss.reason for miss in known}
    tables: dict[str, Table] = {}
    settings: dict[str, str] = {}
    for row in rows:
        if row.simulation not in tables:
            tables[row.simulation] = table = Table(title=row.simulation, box=box.SIMPLE_HEAD, title_justify="left")
            for name, justify in (("setting", "left"), ("quantity", "left"), ("value", "right"), ("+-", "right")):
                table.add_column(name, justify=justify)  # type: ignore[arg-type]
            table.add_column("required", justify="right", no_wrap=True)
            table.add_column("")
        setting = "" if settings.get(row.simulation) == row.setting else row.setting
        settings[row.simulation] = row.setting
        cells = ("" if np.isnan(number) else f"{number:.3f}" for number in (row.value, row.error))
        tables[row.simulation].add_row(setting, row.quantity, *cells, _required(row), _verdict(row, reasons))
    return list(tables.values())


def _required(row: SimulatedQuantity) -> str:
    return f"{row.low:g} to {row.high:g}" if row.required else ""


def _verdict(row: SimulatedQuantity, known: Mapping[tuple[str, str, str], str]) -> str:
    if row.met:
        return row.reason or ("holds" if row.required else "for comparison")
    return f"not reached: {known[row.place]}" if row.place in known else "MISSED"
