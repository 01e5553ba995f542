"""Short, seeded runs of a simulation, and what may be required of them."""

import pytest

from analysis.simulation.quantity import Effort
from analysis.simulation.results import simulate

ERRORS = 3  # standard errors by which a short run may miss its bounds


@pytest.fixture(scope="session")
def run_short():
    """A function from a simulation and its effort to setting -> quantity -> its row."""

    def run(simulation, *, pools, resamples=200, permutations=99, seed=0):
        parts = simulate({"short": simulation}, Effort(pools, resamples, permutations), seed=seed)
        return {rows[0].setting: {row.quantity: row for row in rows} for rows in parts}

    return run


@pytest.fixture(scope="session")
def holds():
    """Whether a row is within its bounds, with a tolerance of three standard errors."""
    return lambda row: row.required and row.low - ERRORS * row.error <= row.value <= row.high + ERRORS * row.error
