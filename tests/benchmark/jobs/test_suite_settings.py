"""A suite's settings of further jobs, and how invalid ones are refused."""

import math

import pytest

from benchmark.errors import InputError
from benchmark.jobs.suite_settings import Longer, Repeated, longer_of, repeated_of


def test_settings_are_read():
    assert longer_of({"factor": 4, "seeds": [0, 2]}) == Longer(4.0, (0, 2))
    assert repeated_of({"sources": ["a", "b", "a"], "seeds": [1]}) == Repeated(("a", "b"), (1,))
    assert longer_of(None) is None
    assert repeated_of(None) is None


def test_a_length_is_a_whole_number():
    assert Longer(4.0, (0,)).length(200) == 800
    assert Longer(1.5, (0,)).length(3) == round(4.5)


@pytest.mark.bad_input
@pytest.mark.parametrize("factor", [1, 0.5, "four", True, None, math.inf, math.nan])
def test_a_factor_is_a_number_above_1(factor):
    with pytest.raises(InputError, match=rf"suite\.longer\.factor must be a number above 1, got {factor}"):
        longer_of({"factor": factor, "seeds": [0]})


@pytest.mark.bad_input
@pytest.mark.parametrize("seeds", [[], [1, 1], [2, -1], [True], [0.5], 1, None])
def test_seeds_are_different_whole_numbers(seeds):
    rule = "seeds must be a list of different whole numbers of at least 0, got "
    with pytest.raises(InputError, match=rf"suite\.longer\.{rule}"):
        longer_of({"factor": 2, "seeds": seeds})
    with pytest.raises(InputError, match=rf"suite\.repeated\.{rule}"):
        repeated_of({"sources": ["a"], "seeds": seeds})


@pytest.mark.bad_input
@pytest.mark.parametrize("settings", [4, [0], {"factor": 4}, {"factor": 4, "seeds": [0], "steps": 3}])
def test_longer_has_a_factor_and_seeds(settings):
    with pytest.raises(InputError, match=r"suite\.longer must be null or have the settings factor and seeds, got "):
        longer_of(settings)


@pytest.mark.bad_input
@pytest.mark.parametrize("sources", [[], "a", [1], None])
def test_repeated_sources_are_a_list_of_names(sources):
    with pytest.raises(InputError, match=r"own\.yaml: repeated\.sources must be a list of sources, got "):
        repeated_of({"sources": sources, "seeds": [1]}, "own.yaml: repeated")
