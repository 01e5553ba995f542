"""The command `analysis.coverage`: tables, a CSV, and exit code 1 for a miss that is not declared."""

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from analysis.coverage import FELL_SHORT, run
from benchmark.errors import InputError
from benchmark.jobs.cli import CONF, prepare_config

SMALL = ["pools=3", "resamples=20", "permutations=9"]
TIED = [f"~simulations.{name}" for name in ("small_pools", "large_pools", "families", "shared_targets",
                                            "weak_sources", "best_of_many")]  # fmt: skip


@pytest.fixture
def configured(tmp_path):
    """A function from overrides to the command's config, which writes to a temporary folder."""
    prepare_config()

    def configure(*overrides):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("coverage", [*SMALL, f"output_dir='{tmp_path}'", *overrides])

    return configure


def test_every_simulation_of_the_yaml_runs(configured, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:  # three pools cannot hold the bounds
        run(configured())
    assert stopped.value.code == FELL_SHORT
    printed = capsys.readouterr()
    rows = pd.read_csv(tmp_path / "coverage.csv")
    assert list(rows) == ["simulation", "setting", "quantity", "value", "error", "low", "high", "reason"]
    assert set(rows["simulation"]) == set(configured().simulations)
    assert all(name in printed.out for name in configured().simulations)
    assert "fell short:" in printed.err
    assert "`not_reached` names a case that does not exist" not in printed.err


def test_a_simulation_without_requirements_falls_short_of_nothing(configured, capsys):
    run(configured(*TIED))
    assert "weighted_kendall by chance" in capsys.readouterr().out


def test_a_declared_miss_does_not_fail(configured, capsys):
    only = [override for override in TIED if "large_pools" not in override] + ["~simulations.tied_scores"]
    bounds = ["simulations.large_pools.sizes=[4]", "simulations.large_pools.coverage=[1.1,1.2]"]
    with pytest.raises(SystemExit):
        run(configured(*only, *bounds))
    lines = [line.strip() for line in capsys.readouterr().err.splitlines()[1:]]
    misses = [line.partition(" is ")[0].split(": ", 2) for line in lines]
    assert ["large_pools", "4 sources", "coverage, pearson"] in misses
    declared = configured(*only, *bounds)
    declared.not_reached = [
        {"simulation": simulation, "setting": setting, "quantity": quantity, "reason": "bounds above 1"}
        for simulation, setting, quantity in misses
    ]
    run(declared)
    assert "not reached: bounds above 1" in " ".join(capsys.readouterr().out.split())


def test_a_correlation_outside_its_range_and_no_simulation_are_refused(configured):
    with pytest.raises(Exception, match="`correlation` must be between -1 and 1, got 1"):
        run(configured("simulations.small_pools.correlation=1"))
    with pytest.raises(InputError, match="`simulations` must have an entry, got none"):
        run(configured("simulations=null"))
