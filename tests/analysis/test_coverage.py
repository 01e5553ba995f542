"""The short version of `python -m analysis.coverage`: intervals cover, p-values are uniform, and a miss is found."""

import pandas as pd
import pytest

from analysis.agreement.measure_table import MEASURES, PRIMARY
from analysis.coverage import DIFFERENCE, Simulation, misses, normal_pools
from benchmark.errors import InputError

STUDIES = 150  # a share has a standard error of 0.018 at 95%
# What is asked of 1,000 studies is 90 to 98%; three standard errors are allowed for the short version.
SHORT = {15: (0.85, 1.0)}


@pytest.fixture(scope="module")
def found():
    return Simulation(15, 0.6, studies=STUDIES, resamples=300, permutations=99, seed=0).run()


def test_every_interval_covers_and_p_values_are_uniform(found):
    assert misses(found, SHORT) == []
    assert set(found["measure"]) == {measure.name for measure in MEASURES} | {DIFFERENCE}
    assert found["p_uniform"].notna().sum() == len(PRIMARY)
    # Under the null p <= 0.05 has a chance of 0.05 at most: a binomial of 150 stays below 0.12 but once in 10,000.
    assert (found["p_below_05"].dropna() < 0.12).all()


def test_coverage_is_what_is_left_of_both_misses(found):
    assert (found["coverage"] + found["missed_low"] + found["missed_high"]).tolist() == pytest.approx([1] * len(found))
    assert found.set_index("measure").loc["pearson", "truth"] == 0.6


def test_a_miss_is_told(found):
    assert len(misses(found, {15: (0.999, 1.0)})) >= 5
    skewed = pd.DataFrame({"sources": [15], "measure": ["kendall"], "coverage": [0.95], "p_uniform": [1e-6]})
    assert misses(skewed, SHORT) == ["p-values of kendall at 15 sources are not uniform"]


def test_the_pools_have_their_correlation():
    import numpy as np

    scores, dice = normal_pools(2000, 20, 0.6, np.random.default_rng(0))
    found = [np.corrcoef(score.ravel(), dice.ravel())[0, 1] for score in scores]
    assert found == pytest.approx([0.6, 0.6], abs=0.02)  # three standard errors at 40,000 pairs are 0.01


def test_the_command_writes_a_row_a_size_and_measure(tmp_path, capsys):
    from hydra import compose, initialize_config_dir

    from analysis.coverage import run
    from benchmark.jobs.cli import CONF, prepare_config

    prepare_config()
    small = ["studies=3", "resamples=20", "permutations=9", "sizes=[10]", f"output_dir='{tmp_path}'"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("coverage", [*small, "bounds={10:[0,1]}"])
        wrong = compose("coverage", [*small, "correlation=1"])
        unbound = compose("coverage", [*small, "sizes=[10,30]"])
    run(cfg)
    assert "weighted_kendall" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "coverage.csv")) == len(MEASURES) + 1
    with pytest.raises(InputError, match="correlation must be between -1 and 1, got 1"):
        run(wrong)
    with pytest.raises(InputError, match="bounds must have an entry for each of sizes, missing 30"):
        run(unbound)
