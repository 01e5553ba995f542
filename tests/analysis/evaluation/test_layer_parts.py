"""CC-FV's terms from the parts that score runs keep."""

import numpy as np
import pandas as pd
import pytest

from analysis.evaluation.layer_parts import layer_terms, term_agreement

COLUMNS = ["source", "target", "name", "value"]


def test_terms_are_logs_of_the_parts_and_add_up_to_the_score():
    rows = [
        ("a", "liver", "part/ccfv/consistency_1", 2.0),
        ("a", "liver", "part/ccfv/variety_1", 0.5),
        ("a", "liver", "part/ccfv/consistency_2", 4.0),
        ("a", "liver", "part/ccfv/variety_2", 3.0),
        ("a", "liver", "part/ccfv/pairs_2", 6.0),
        ("a", "liver", "part/ccfv_released/w_1", 9.0),
        ("a", "liver", "part/logme/rank", 4.0),
    ]
    terms = layer_terms(pd.DataFrame(rows, columns=COLUMNS)).set_index("layer")
    assert list(terms.index) == [1, 2]
    assert terms.loc[1, "consistency"] == pytest.approx(-np.log(2))
    assert terms.loc[2, "variety"] == pytest.approx(np.log(3))
    assert terms["both"].mean() == pytest.approx((np.log(0.5 / 2) + np.log(3 / 4)) / 2)


def test_a_part_that_has_no_logarithm_is_nan():
    rows = [("a", "liver", "part/ccfv/consistency_1", 0.0), ("a", "liver", "part/ccfv/variety_1", 1.0)]
    terms = layer_terms(pd.DataFrame(rows, columns=COLUMNS))
    assert terms[["consistency", "both"]].isna().all(axis=None)
    assert terms["variety"].item() == 0


@pytest.mark.parametrize("names", [(), ("part/logme/rank",), ("part/ccfv/consistency_1",)])
def test_without_both_parts_there_are_no_terms(names):
    rows = pd.DataFrame([("a", "liver", name, 1.0) for name in names], columns=COLUMNS)
    assert layer_terms(rows).empty


def test_each_term_is_judged_by_itself(study, evidence):
    """The planted consistency ranks as the truth does, the planted variety is alike for all sources."""
    found = term_agreement(study, evidence.terms).set_index(["term", "target"])["weighted_kendall"]
    assert (found["consistency"] == 1).all()
    assert found["variety"].isna().all()
    assert set(found["consistency"].index) == {pool.target for pool in study.pools}


def test_a_source_without_parts_leaves_its_target_undefined(study, evidence):
    terms = evidence.terms
    fewer = terms[(terms["source"] != "s04") | (terms["target"] != "lung")]
    found = term_agreement(study, fewer).set_index(["term", "target"])["weighted_kendall"]
    assert found["consistency", "lung"].isna().all()
    assert (found["consistency", "liver"] == 1).all()
