"""Which cases are scored, in which order, and the halves of them."""

import numpy as np
import pytest

from benchmark.data.tasks.checking import CheckedCase
from benchmark.errors import InputError
from benchmark.ranking.case_choice import CaseChoice, half_counts, ordered


def checked(**counts):
    return {name: CheckedCase(own, (4, 4, 4), (1.0, 1.0, 1.0), "") for name, own in counts.items()}


def test_the_background_counts_neither_as_a_class_nor_as_foreground():
    known = checked(a={0: 1000, 1: 2}, b={1: 3}, c={0: 5, 1: 1, 2: 1}, d={0: 9})
    assert ordered(known) == ["c", "b", "a", "d"]
    assert ordered(dict(reversed(known.items()))) == ordered(known)


def test_a_number_takes_the_first_and_names_the_rest():
    known = checked(a={1: 1}, b={1: 3}, c={1: 2})
    choice = CaseChoice.of(known, windows="foreground", number=2)
    assert (choice.chosen, choice.left_out) == (("b", "c"), ("a",))
    assert choice.settings == "stream.windows=foreground stream.cases=2"
    assert "2 of 3 cases" in choice.describe()[0]
    assert choice.describe()[0].endswith("left out: a")
    many = CaseChoice("all", ("b",), tuple(f"case_{place}" for place in range(22)))
    assert many.describe()[0].endswith("case_19 and 2 more, all in ranking.json")
    assert CaseChoice.of(known, windows="all", number=9).describe() == []
    smaller = choice.smaller(windows="foreground", number=1)
    assert (smaller.chosen, smaller.left_out) == (("b",), ("c", "a"))


@pytest.mark.bad_input
@pytest.mark.parametrize("number", [0, -1, 1.5, "two"])
def test_a_number_that_is_none_is_refused(number):
    with pytest.raises(InputError, match=r"stream\.cases must be a whole number of at least 1 or null, got"):
        CaseChoice.of(checked(a={1: 1}), windows="all", number=number)


def test_halves_share_no_case_and_leave_none_out():
    order = [f"case_{place}" for place in np.random.default_rng(0).permutation(7)]
    halves = half_counts(order)
    assert halves.sum(axis=0).tolist() == [1] * 7
    assert halves.sum(axis=1).tolist() == [4, 3]
    assert halves[0, sorted(order).index(order[0])] == 1
    assert half_counts(["a"]).shape == (0, 1)
