"""The published pools: the values that their sources lead to, and the page that shows them."""

import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from analysis.audit import outcome_of, run
from analysis.csv_files.published_page import BEGIN, END, paired_methods
from analysis.published import POOLS, published_agreement, published_truth
from analysis.published.default_metrics import COUNT, MEDMNIST, SUM, sums
from analysis.tables.number_format import strict_json
from analysis.truth.truth_table import read_table
from benchmark.jobs.cli import CONF, prepare_config
from benchmark.ranking.default_metrics import DEFAULT_METRICS

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "published.md"
PRINTED = 1e-3  # the values were printed with three digits
TABLE_1 = 1e-4  # Table 1 has four digits
READ_OFF = 5e-4  # GBC's points are read off the figure less exactly
STATIC = {"medsegbench": 0.306, "medmnist_datasets": 0.571, "medmnist_architectures": 0.449}
ESTIMATES = {
    "medmnist_datasets": {
        "lp": 0.440, "nleep": 0.411, "fu": 0.410, "leep": 0.351, "logme": 0.335, "parc": 0.297, "ncti": 0.183,
    },
    "medmnist_architectures": {
        "sfda": 0.187, "logme": 0.036, "ncti": -0.084, "parc": -0.104, "nleep": -0.151, "leep": -0.200, "lp": -0.211,
        "fu": -0.286,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def audited():
    """The content of audit.json of a published pool, with few resamples."""

    @cache
    def of(name):
        prepare_config()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("audit", [f"table={name}", "resamples=20"])
        return json.loads(json.dumps(strict_json(outcome_of(cfg, read_table(name)).facts)))

    return of


@pytest.mark.parametrize("name", STATIC)
def test_the_static_leaderboard_of_a_pool_is_as_expected(audited, name):
    facts = audited(name)
    assert facts["static_leaderboard"]["weighted_kendall"] == pytest.approx(STATIC[name], abs=PRINTED)
    for metric, value in ESTIMATES.get(name, {}).items():
        assert facts["estimates"][metric]["weighted_kendall"] == pytest.approx(value, abs=PRINTED)


def test_what_bites_in_the_pool_of_data_sets(audited):
    facts = audited("medmnist_datasets")
    assert facts["controls"]["static_leaderboard"]["weighted_kendall"] == pytest.approx(0.555, abs=PRINTED)
    sfda = facts["estimates"]["sfda"]
    assert sfda["weighted_kendall"] is None
    assert sfda["where_defined"]["weighted_kendall"] == pytest.approx(0.267, abs=PRINTED)
    assert sfda["where_defined"]["targets"] == 9
    reasons = {row["reason"] for row in sfda["targets"] if row["weighted_kendall"] is None}
    assert reasons == {"all scores are alike"}
    pairs = facts["pairs"]
    assert (pairs["compared"], pairs["sources"], pairs["targets"]) == (154, 15, 11)
    counts = pd.Series([row["reason"] for row in pairs["left_out"]]).value_counts().to_dict()
    assert counts == {"auc is empty": 12, "only in the truth": 14}


def test_the_four_targets_of_one_data_set_count_as_one(audited):
    facts = audited("medsegbench")
    static = facts["controls"]["static_leaderboard"]
    rows = pd.DataFrame(static["targets"])
    group = rows["target"].str.startswith("idrib_C").map({True: "idrib", False: ""}) + rows["target"].where(
        ~rows["target"].str.startswith("idrib_C"), ""
    )
    assert static["by_group"]["weighted_kendall"] == pytest.approx(
        rows.groupby(group)["weighted_kendall"].mean().mean(), abs=1e-9
    )
    assert group.nunique() == 35
    assert len(facts["pairs"]["left_out"]) == 17
    assert facts["reliability"]["seeds"] == 3
    assert list(facts["reliability"]["undefined"]) == ["monusac"]
    assert (
        0
        < facts["reliability"]["where_defined"]["kendall"]
        < facts["reliability"]["where_defined"]["kendall_ceiling"]
        < 1
    )


def test_figure_2_leads_to_table_1(audited):
    facts = audited("ccfv_figure2")
    agreement = published_agreement()
    printed = agreement[agreement["target"] == "Task03_Liver"].set_index("metric")
    for metric in ("ccfv", "leep", "transrate", "gbc"):
        row = facts["estimates"][metric]
        digits = READ_OFF if metric == "gbc" else TABLE_1
        assert row["pearson"] == pytest.approx(printed.loc[metric, "pearson"], abs=digits)
        expected = 0.7322 if metric == "ccfv" else printed.loc[metric, "weighted_kendall"]
        assert row["weighted_kendall"] == pytest.approx(expected, abs=1.5 * TABLE_1)
    assert facts["controls"]["architecture"]["weighted_kendall"] == pytest.approx(0.661, abs=PRINTED)
    assert facts["controls"]["architecture"]["pearson"] == pytest.approx(0.78, abs=5e-3)
    assert facts["controls"]["architecture_pretrained"]["weighted_kendall"] == pytest.approx(0.697, abs=PRINTED)
    assert "static_leaderboard" not in facts["controls"]
    assert facts["static_leaderboard"]["weighted_kendall"] is None
    assert facts["static_leaderboard"]["reason"] == "there is one target, so there is no static leaderboard"


def test_the_methods_of_table_1_in_pairs():
    rows = paired_methods(published_agreement()).set_index(["first", "second"])
    expected = {"gbc": (0.087, 0.53), "leep": (0.104, 0.30), "transrate": (0.230, 0.21), "logme": (0.477, 0.02)}
    expected["ccfv_consistency (no variety)"] = (0.029, 0.75)
    for other, (difference, p) in expected.items():
        row = rows.loc[("ccfv", other)]
        assert row["difference"] == pytest.approx(difference, abs=PRINTED)
        assert row["p"] == pytest.approx(p, abs=5e-3)
        assert row["difference_low"] < row["difference"] < row["difference_high"]


def test_every_published_table_loads_as_fractions():
    for name in POOLS:
        table = published_truth(name)
        values = table[table.columns[-1]]
        assert values.dropna().between(0, 1).all()


def test_the_default_metrics_of_rank_are_those_that_the_rule_chooses(audited):
    pools = {name: audited(name) for name in MEDMNIST}
    table = sums(pools)
    assert tuple(table.index[:COUNT]) == DEFAULT_METRICS
    assert table.loc["leep", SUM] == pytest.approx(
        table.loc["leep", "embedded_suite"] + 0.394 + 0.351 - 0.200, abs=2e-3
    )
    assert table.loc["sfda", "medmnist_datasets"] == pytest.approx(0.267, abs=PRINTED)  # where it is defined
    assert np.isnan(table.loc["knn", "table_1"])
    assert table.loc["knn", SUM] == table.loc["knn", "embedded_suite"]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """published.md of the command that the page names."""
    folder = tmp_path_factory.mktemp("published")
    prepare_config()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        run(compose("audit", ["published=true", f"output_dir='{folder}'"]))
    return (folder / "published.md").read_text(encoding="utf-8")


NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
LAST_DIGIT = 0.0101  # another build of BLAS may round the last digit to the other side
BLOCK = re.compile(re.escape(BEGIN).replace(r"\{\}", r"\w+") + ".*?" + re.escape(END), re.DOTALL)


def test_the_page_has_the_tables_of_its_command(tables):
    page = PAGE.read_text(encoding="utf-8")
    shown, computed = (sorted(BLOCK.findall(text)) for text in (page, tables))
    assert len(shown) == len(computed)
    for ours, theirs in zip(shown, computed, strict=True):
        assert NUMBER.sub("#", ours) == NUMBER.sub("#", theirs)
        values = [[float(text) for text in NUMBER.findall(block)] for block in (ours, theirs)]
        np.testing.assert_allclose(*values, atol=LAST_DIGIT)
    assert "python -m analysis.audit published=true" in page


def test_every_number_of_the_prose_is_in_the_tables(tables):
    prose = BLOCK.sub("", PAGE.read_text(encoding="utf-8"))
    prose = re.sub(r"`[^`]*`|Apache-2.0|doi \S+|arXiv \d+\.\d+|\(https?://[^)]*\)", "", prose)
    numbers = {float(text) for text in re.findall(r"(?<![\w.])-?\d+\.\d+", prose)}
    shown = {float(text) for text in re.findall(r"-?\d+\.\d+", tables)}
    shown |= {round(value, 2) for value in shown} | {round(value, 3) for value in shown}
    assert len(numbers) > 10
    assert {value for value in numbers if not np.isclose(list(shown), value, atol=1e-9).any()} == set()
