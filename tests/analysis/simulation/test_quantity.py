"""Shares, means and coverages of a simulation."""

import numpy as np
import pytest

from analysis.agreement.intervals import Interval
from analysis.simulation.quantity import coverage, mean, rejections, share

NAN = float("nan")


def test_a_share_leaves_out_undefined_pools_and_says_so():
    result = share("x", np.array([1.0, 0.0, NAN, 1.0]), (0.5, 0.9))
    assert result.value == pytest.approx(2 / 3)
    assert result.reason == "undefined in 1 of 4 pools"
    assert result.required
    assert result.met


@pytest.mark.parametrize("happened", [0.0, 1.0])
def test_the_standard_error_of_a_share_is_never_0(happened):
    # Agresti and Coull: (100 + 2) / (100 + 4), sqrt(p (1 - p) / 104)
    assert share("x", np.full(100, happened)).error == pytest.approx(0.0135, abs=0.0001)


def test_a_share_that_is_required_and_defined_nowhere_is_not_met():
    assert not share("x", np.array([NAN, NAN]), (0.0, 1.0)).met


def test_the_mean_has_the_standard_error_of_a_mean():
    result = mean("x", np.array([1.0, 3.0]))
    assert (result.value, result.error) == (2.0, pytest.approx(1 / np.sqrt(2)))
    assert result.met
    assert not result.required


def test_rejections_count_p_up_to_5_percent():
    result = rejections("y", [0.05, 0.051, 0.01, NAN])
    assert (result.quantity, result.value) == ("p <= 0.05, y", pytest.approx(2 / 3))


def test_coverage_counts_the_intervals_that_are_given():
    intervals = [Interval(0.1, 0.5), Interval(0.4, 0.5), Interval(NAN, NAN, "too few")]
    result = coverage("z", intervals, 0.3, (0.9, 1.0))
    assert (result.quantity, result.value) == ("coverage, z", 0.5)
    assert result.reason == "undefined in 1 of 3 pools: too few"
    assert not result.met


def test_an_end_that_equals_the_truth_up_to_rounding_contains_it():
    assert coverage("z", [Interval(0.0, 1.0 - 1e-15)], 1.0).value == 1.0


def test_nothing_is_required_where_no_interval_is_given():
    result = coverage("z", [Interval(NAN, NAN, "too few")], 0.3, (0.9, 1.0))
    assert np.isnan(result.value)
    assert result.reason == "none is given: too few"
    assert not result.required
