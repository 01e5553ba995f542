"""Whether an order has settled: by hand, and undefined with a reason."""

import math

import numpy as np
import pytest

from analysis.ranking.order import Scores
from analysis.ranking.settled import settled

NAN = math.nan
ORDER = [4.0, 3.0, 2.0, 1.0]


def scores(halves, *, cases=5, **metrics):
    names = "abcd"[: len(next(iter(metrics.values())))]
    values = {name: np.array(own) for name, own in metrics.items()}
    return Scores(names, values, {}, "none", cases, {name: np.array(rows) for name, rows in halves.items()})


def test_an_order_that_every_half_gives_has_settled():
    found = settled(scores({"ccfv": [ORDER, ORDER]}, ccfv=ORDER))
    assert (found.with_all, found.between_halves, found.reason) == (1.0, 1.0, "")
    assert "by half of the cases (3, every other one) with that by all 5" in found.describe()


def test_one_pair_in_another_order():
    # of 6 pairs one disagrees: (5 - 1) / 6; the halves disagree in all
    found = settled(scores({"ccfv": [[4.0, 3.0, 1.0, 2.0], [1.0, 2.0, 4.0, 3.0]]}, ccfv=ORDER))
    assert found.with_all == pytest.approx(4 / 6)
    assert found.between_halves == -1.0


def test_a_metric_that_half_of_the_cases_leave_undefined_counts_in_no_order():
    halves = {"ccfv": [[NAN] * 4] * 2, "knn": [ORDER, ORDER], "parc": np.zeros((0, 4))}
    found = settled(scores(halves, cases=2, ccfv=ORDER[::-1], knn=ORDER, parc=ORDER[::-1]))
    assert found.with_all == 1.0
    assert found.left_out == ("ccfv", "parc")
    assert "without ccfv, parc, undefined for half of the cases" in found.describe()


@pytest.mark.parametrize(
    ("values", "halves", "cases", "reason"),
    [
        (ORDER, [[]], 1, "1 case, at least 2 are needed"),
        ([2.0, 1.0], [[2.0, 1.0]] * 2, 4, "2 sources, at least 3 are needed"),
        (ORDER, [[NAN] * 4] * 2, 2, "ccfv is not defined for half of the cases"),
        (ORDER, [[1.0] * 4] * 2, 4, "fewer than 3 sources have both scores, or all are equal"),
        (ORDER, [[1.0, 2.0, NAN, NAN]] * 2, 4, "fewer than 3 sources have both scores, or all are equal"),
    ],
)
def test_what_cannot_be_said_has_its_reason(values, halves, cases, reason):
    found = settled(scores({"ccfv": halves}, cases=cases, ccfv=values), by="ccfv")
    assert math.isnan(found.with_all)
    assert found.reason == reason
    assert found.describe() == f"Whether the order has settled cannot be said: {reason}."


def test_the_metric_that_orders_the_sources_decides():
    halves = {"ccfv": [ORDER[::-1]] * 2, "knn": [ORDER] * 2}
    assert settled(scores(halves, ccfv=ORDER, knn=ORDER), by="ccfv").with_all == -1.0
