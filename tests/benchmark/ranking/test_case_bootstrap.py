import numpy as np
import pytest

from benchmark.ranking.case_bootstrap import resample_cases


def test_six_cases_are_drawn_with_replacement():
    resamples = resample_cases(6, draws=2000, generator=np.random.default_rng(0))
    assert resamples.kind == "bootstrap"
    assert (resamples.counts.sum(axis=1) == 6).all()
    # each case is drawn once on average, with variance 1 - 1/m; 2,000 draws know both to a few percent
    assert resamples.counts.mean(axis=0) == pytest.approx(np.ones(6), abs=0.1)
    assert resamples.counts.var(axis=0) == pytest.approx(np.full(6, 5 / 6), rel=0.15)


def test_fewer_cases_are_left_out_one_by_one():
    resamples = resample_cases(5, draws=2000, generator=np.random.default_rng(0))
    assert resamples.kind == "leave-one-out"
    assert sorted(resamples.counts.argmin(axis=1)) == [0, 1, 2, 3, 4]
    assert (resamples.counts.sum(axis=1) == 4).all()


@pytest.mark.parametrize(("m", "draws"), [(1, 100), (8, 0)])
def test_one_case_or_no_draws_has_no_resample(m, draws):
    resamples = resample_cases(m, draws=draws, generator=np.random.default_rng(0))
    assert resamples.kind == "none"
    assert resamples.counts.shape == (0, m)
    why = "they need two cases at least" if m == 1 else "draws is 0"
    assert resamples.describe(50) == f"no intervals: {why}"


def test_the_generator_decides():
    a, b = (resample_cases(7, draws=5, generator=np.random.default_rng(4)).counts for _ in range(2))
    assert (a == b).all()
