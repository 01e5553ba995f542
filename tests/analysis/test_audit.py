"""The audit of a table of truth: planted tables whose answer is known, and the published ones."""

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from analysis.audit import audit, run
from analysis.published import OPENMIND, published_truth
from benchmark.errors import InputError
from benchmark.jobs.cli import CONF, prepare_config

# Tables are fractions with four digits; a mean of them is exact to float64's rounding.
ROUNDING = 1e-9


def table(matrix):
    """Sources s0, s1, ... by rows, targets t0, t1, ... by columns."""
    rows = [(f"s{i}", f"t{j}", value) for (i, j), value in np.ndenumerate(np.asarray(matrix, dtype=float))]
    return pd.DataFrame(rows, columns=["source", "target", "dice"])


# The same order on every target, the targets at different levels.
STATIC = np.linspace(0.2, 0.6, 5)[:, None] + np.array([0.0, 0.1, 0.2])


def test_the_same_order_everywhere_is_a_perfect_leaderboard():
    found = audit(table(STATIC), resamples=50)
    assert found.static["weighted_kendall"] == pytest.approx(1)
    assert found.static["pearson"] == pytest.approx(1)
    assert found.dispersion.rank_sd == pytest.approx(0)
    assert found.by_source["source"].tolist() == ["s4", "s3", "s2", "s1", "s0"]
    assert found.by_source["weighted_kendall_without"].tolist() == pytest.approx([1] * 5)


def test_opposite_targets_mislead_the_leaderboard():
    # With two targets each is predicted by the other alone, here by its reverse.
    found = audit(table(np.stack([STATIC[:, 0], STATIC[::-1, 0]], axis=1)), resamples=50)
    assert found.static["kendall"] == pytest.approx(-1)
    assert found.dispersion.rank_sd == pytest.approx(
        np.mean([np.std([place, 4 - place], ddof=1) for place in range(5)])
    )


def test_random_ranks_move_as_the_formula_says():
    # A rank uniform on 1 .. n has variance (n^2 - 1) / 12; six sds of 60 ranks each average to its root within 15%.
    found = audit(table(np.random.default_rng(0).uniform(size=(6, 60))), resamples=5)
    assert found.dispersion.rank_sd == pytest.approx(found.dispersion.rank_sd_random, rel=0.15)
    assert found.dispersion.rank_sd_random == pytest.approx(np.sqrt(35 / 12))


def test_ties_within_the_resolution_are_counted():
    found = audit(table(STATIC), resolution=0.1 + ROUNDING, resamples=5)
    assert found.by_target["tied"].tolist() == pytest.approx([4 / 10] * 3)
    assert found.by_target["spread"].tolist() == pytest.approx([0.4] * 3)


def test_the_mean_without_a_target_is_the_mean_of_the_others():
    found = audit(published_truth("openmind_resenc_l"), resamples=5).by_target
    first = found["weighted_kendall"].drop(0).mean()
    assert found.loc[0, "weighted_kendall_others"] == pytest.approx(first)


def test_seeds_count_by_their_mean_and_a_sub_pool_is_a_table_of_its_own():
    twice = pd.concat([table(STATIC - 0.05).assign(seed=0), table(STATIC + 0.05).assign(seed=1)])
    once, seeds = audit(table(STATIC), resamples=20), audit(twice, resamples=20)
    assert seeds.static == pytest.approx(once.static, nan_ok=True)  # five sources: no interval of a rank measure
    part = audit(table(STATIC), sources=["s0", "s1", "s4"], resamples=20)
    assert part.by_target["sources"].tolist() == [3, 3, 3]


def test_a_source_run_on_one_target_leaves_the_answer_undefined_with_the_reason():
    rows = pd.concat([table(STATIC), pd.DataFrame({"source": ["lone"], "target": ["t0"], "dice": [0.5]})])
    found = audit(rows, resamples=20)
    assert np.isnan(found.static["kendall"])
    assert found.reason == "undefined on t0"
    assert "lone" in found.by_target.set_index("target").loc["t0", "reason"]


@pytest.mark.parametrize("name", OPENMIND)
def test_published_tables_are_whole(name):
    truth = published_truth(name)
    assert truth["target"].nunique() == 12
    assert len(truth) == truth["source"].nunique() * 12
    assert truth["dice"].between(0.3, 1).all()


def written(folder, rows, *overrides):
    """audit.json of the command, run on a table."""
    path = folder / "truth.csv"
    rows.to_csv(path, index=False)
    prepare_config()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        run(compose("audit", [f"table='{path}'", f"output_dir='{folder}'", "resamples=20", *overrides]))
    return json.loads((folder / "audit.json").read_text(encoding="utf-8"))


def test_the_command_writes_what_it_prints(tmp_path, capsys):
    found = written(tmp_path, table(STATIC), "sub_pools={ends:[s0,s1,s4]}")
    assert found["static_leaderboard"]["weighted_kendall"] == pytest.approx(1)
    assert set(found["static_leaderboard"]) >= {"weighted_kendall", "kendall", "pearson", "pearson_low", "pearson_high"}
    assert len(found["targets"]) == 3
    assert len(found["sub_pools"]["ends"]["sources"]) == 3
    assert [row["source"] for row in found["sub_pools"]["better half"]["sources"]] == ["s4", "s3", "s2"]
    text = " ".join(capsys.readouterr().out.split())  # a title wraps
    assert "the static leaderboard over 3 targets" in text
    assert "1.00 [1.00, 1.00]" in text


def test_the_command_reads_percent_and_writes_no_nan(tmp_path, capsys):
    found = written(tmp_path, table(100 * STATIC[:2]))
    assert found["static_leaderboard"]["weighted_kendall"] is None
    assert "2 sources, at least 3 are needed" in found["targets"][0]["reason"]
    assert "The Dice values of the table are in percent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(columns="dice"), "must have the columns source, target, dice, missing dice"),
        (lambda rows: rows.iloc[:0], "must contain at least one row, got none"),
        (
            lambda rows: pd.concat([rows, rows[:1]]),
            "must contain each source, target once, got source s0, target t0 again",
        ),
        (lambda rows: rows.assign(dice=-rows["dice"]), "dice must be a fraction or a percentage, got -0.2 on line 2"),
        (lambda rows: rows.assign(dice="high"), "dice must be a fraction or a percentage, got high on line 2"),
        (lambda rows: rows.assign(seed=0.5), "seed must be a whole number in every row, got 0.5"),
        (
            lambda rows: rows.assign(source=[None, *rows["source"][1:]]),
            "source must be given in every row, got 1 empty",
        ),
    ],
)
def test_a_bad_table_is_told_in_one_line(tmp_path, change, message):
    with pytest.raises(InputError, match=re.escape(message)):
        written(tmp_path, change(table(STATIC)))


def test_a_sub_pool_of_unknown_sources_is_named(tmp_path):
    with pytest.raises(InputError, match=r"sub_pools.odd must name sources of .*truth.csv, got s9"):
        written(tmp_path, table(STATIC), "sub_pools={odd:[s0,s9]}")


@pytest.mark.bad_input
def test_the_command_line_exits_with_two(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "analysis.audit", "table=nowhere.csv"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "error: table must name a CSV file or one of openmind_resenc_l, openmind_primus_m, ccfv_figure2, medsegbench, "
        "medmnist_datasets, medmnist_architectures, got nowhere.csv\n"
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (table(STATIC).drop(columns="dice"), "`table` must have the columns source, target, dice, missing dice"),
        (table(STATIC[:, :1]), "`table` must contain at least 2 targets, got 1"),
        (table(100 * STATIC), r"Dice as fractions in \[0, 1\], got 20 to 80"),
    ],
)
def test_bad_tables_are_named(rows, message):
    with pytest.raises(ValueError, match=message):
        audit(rows)


def test_an_unknown_published_table_is_named():
    with pytest.raises(ValueError, match=r"`name` must be one of openmind_resenc_l, .*, got 'imagenet'"):
        published_truth("imagenet")
