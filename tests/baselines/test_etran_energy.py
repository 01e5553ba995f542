"""ETran energy: cases worked by hand."""

import numpy as np
import pytest

from baselines import EtranEnergy, etran_energy_score
from benchmark.statistics import BalancedPointsRequest, PointSample, Statistics

# Energies log(1), log(2), ... log(10) of ten samples
LOGITS = np.log(np.arange(1, 11))[:, None]


@pytest.mark.parametrize(
    ("percent", "tail", "kept"),
    [(50, "bot", range(1, 6)), (50, "top", range(6, 11)), (20, "bot", (1, 2)), (100, "top", range(1, 11))],
)
def test_a_tail_by_hand(percent, tail, kept):
    assert etran_energy_score(LOGITS, percent=percent, tail=tail) == pytest.approx(np.mean(np.log(list(kept))))


def test_large_logits_do_not_overflow():
    assert etran_energy_score(np.full((10, 2), 5000.0)) == pytest.approx(5000 + np.log(2))


def test_an_empty_tail_is_undefined():
    with pytest.warns(UserWarning, match="0.5 per cent of 10 samples is less than one sample"):
        assert np.isnan(etran_energy_score(LOGITS, percent=0.5))


def test_the_metric_reads_the_logits_of_the_points():
    points = PointSample.from_samples(np.zeros((10, 3)), np.repeat([0, 1], 5), logits=LOGITS)
    statistics = Statistics({BalancedPointsRequest(): points}, k=2, z=1, taps=("up",), cases=("a",))
    assert EtranEnergy().compute(statistics).value == pytest.approx(etran_energy_score(LOGITS))


@pytest.mark.parametrize(
    ("options", "message"), [({"tail": "left"}, "`tail` must be"), ({"percent": 0}, "`percent` must lie")]
)
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        etran_energy_score(LOGITS, **options)
