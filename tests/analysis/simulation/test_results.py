"""Simulations are run setting by setting; a miss is reported unless it is declared."""

import pytest
from rich.console import Console

from analysis.simulation.quantity import Effort, Quantity
from analysis.simulation.results import KnownMiss, SimulatedQuantity, misses, result_tables, simulate
from analysis.simulation.tied_scores import TiedScores

NAN = float("nan")
EFFORT = Effort(pools=1, resamples=1, permutations=1)
MISS = KnownMiss("small", "4 sources", "coverage", "few orders")


class Draws:
    """A simulation whose only quantity is a random number."""

    def __init__(self, *settings):
        self.settings = settings

    def parts(self):
        return dict.fromkeys(self.settings, lambda effort, generator: [Quantity("number", generator.random())])


def row(value, *, setting="4 sources", low=0.9, high=0.98, reason=""):
    return SimulatedQuantity("coverage", value, 0.01, low, high, reason, simulation="small", setting=setting)


def printed(rows, known=()):
    console = Console(width=140)
    with console.capture() as capture:
        for table in result_tables(rows, known):
            console.print(table)
    return capture.get()


def values(simulations, seed=0):
    return {rows[0].place[:2]: rows[0].value for rows in simulate(simulations, EFFORT, seed=seed)}


def test_a_setting_has_its_own_random_numbers_whatever_else_runs():
    every = values({"first": Draws("a", "b"), "second": Draws("a")})
    assert every == values({"second": Draws("a"), "first": Draws("b", "a")})
    assert len(set(every.values())) == 3
    assert values({"second": Draws("a")}) == {("second", "a"): every["second", "a"]}
    assert values({"second": Draws("a")}, seed=1) != values({"second": Draws("a")})


def test_a_row_has_simulation_and_setting():
    (rows,) = simulate({"first": Draws("a")}, EFFORT, seed=0)
    assert rows[0].place == ("first", "a", "number")


def test_two_processes_give_the_same_rows_in_the_same_order():
    simulations = {"tied": TiedScores([[2, 3], [1, 2], [4, 2]])}
    values = [
        [(row.place, row.value) for rows in simulate(simulations, EFFORT, seed=0, workers=workers) for row in rows]
        for workers in (1, 2)
    ]
    assert values[0] == values[1]
    assert len(values[0]) == 6


def test_a_miss_fails_unless_it_is_declared():
    assert misses([row(0.95)]) == []
    assert misses([row(0.85)]) == ["small: 4 sources: coverage is 0.850, required 0.9 to 0.98"]
    assert misses([row(0.85)], [MISS]) == []
    assert misses([row(0.85, setting="6 sources"), row(0.95)], [MISS]) != []
    assert misses([row(NAN)]) != []
    assert misses([row(NAN, low=NAN, high=NAN)]) == []


def test_a_declared_case_that_does_not_exist_fails_if_its_simulation_ran():
    assert misses([row(0.95, setting="6 sources")], [MISS]) == [
        "`not_reached` names a case that does not exist: small: 4 sources: coverage"
    ]
    assert misses([], [MISS]) == []


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (row(0.95), "holds"),
        (row(0.85), "not reached: few orders"),
        (row(0.85, setting="6 sources"), "MISSED"),
        (row(0.85, low=NAN, high=NAN), "for comparison"),
        (row(NAN, low=NAN, high=NAN, reason="none is given"), "none is given"),
    ],
)
def test_the_table_says_what_became_of_a_row(result, verdict):
    text = printed([result], [MISS])
    assert verdict in text
    assert ("0.9 to 0.98" in text) == result.required
    assert f"{result.value:.3f}" in text or result.reason


def test_a_setting_is_printed_once():
    assert printed([row(0.95), row(0.96)]).count("4 sources") == 1
