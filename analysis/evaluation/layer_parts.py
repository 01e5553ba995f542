"""The terms of CC-FV, class consistency and feature variety, and their agreement with the truth by layer.

A score run stores the parts of CC-FV, `consistency_l` (C_l, a distance) and `variety_l` (V_l) for layer l, coarse to
fine. The score is the mean over layers of log V_l - log C_l, so its terms are -log C_l and log V_l.
"""

import re

import numpy as np
import pandas as pd

from analysis.agreement.measure_table import WEIGHTED_KENDALL
from analysis.agreement.rank_measures import why_undefined
from analysis.evaluation.study import Study

METRIC = "ccfv"
TERMS = {"consistency": "consistency, −log C", "variety": "variety, log V", "both": "both, log V/C"}  # noqa: RUF001 -- a minus
NAME = re.compile(rf"part/{METRIC}/(consistency|variety)_(\d+)")
COLUMNS = ("source", "target", "layer", "consistency", "variety", "both")


def layer_terms(parts: pd.DataFrame) -> pd.DataFrame:
    """The terms of CC-FV for each source, target and layer.

    Args:
        parts: Columns source, target, name, value; names as in the store, such as `part/ccfv/variety_1`.

    Returns:
        Columns source, target, layer (1 is the coarsest), consistency (-log C), variety (log V), both; a source whose
        run lacks either part has no row. NaN if a part is not positive.

    Example:
        >>> rows = [("a", "liver", "part/ccfv/consistency_1", 1.0), ("a", "liver", "part/ccfv/variety_1", np.e)]
        >>> terms = layer_terms(pd.DataFrame(rows, columns=["source", "target", "name", "value"]))
        >>> terms[["consistency", "variety", "both"]].to_numpy().tolist()
        [[0.0, 1.0, 1.0]]
    """
    matches = parts["name"].astype(str).str.extract(NAME)
    ours = parts.assign(part=matches[0], layer=matches[1]).dropna(subset=["part"])
    if ours.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    wide = ours.pivot_table(index=["source", "target", "layer"], columns="part", values="value")
    if not {"consistency", "variety"} <= set(wide.columns):
        return pd.DataFrame(columns=list(COLUMNS))
    logs = np.log(wide[["consistency", "variety"]].where(wide[["consistency", "variety"]] > 0))
    terms = pd.DataFrame({"consistency": 0.0 - logs["consistency"], "variety": logs["variety"]})
    terms["both"] = terms["variety"] + terms["consistency"]
    terms = terms.reset_index()
    terms["layer"] = terms["layer"].astype(int)
    return terms[list(COLUMNS)]


def term_agreement(study: Study, terms: pd.DataFrame) -> pd.DataFrame:
    """The agreement of each term of each layer with the truth of each target.

    Args:
        study: The result of `correlate`.
        terms: The result of `layer_terms`.

    Returns:
        Columns layer, term, target, weighted_kendall; NaN if a source of the pool has no value or all are equal.
    """
    rows = []
    for pool in study.pools:
        for layer, table in terms[terms["target"] == pool.target].groupby("layer"):
            values = table.set_index("source").reindex(list(pool.sources))
            for term in TERMS:
                x = values[term].to_numpy(dtype=np.float64)
                undefined = not np.isfinite(x).all() or why_undefined(x, pool.mean)
                value = float("nan") if undefined else float(WEIGHTED_KENDALL.of_pool(x, pool.mean))
                rows.append((int(str(layer)), term, pool.target, value))
    return pd.DataFrame(rows, columns=["layer", "term", "target", "weighted_kendall"])
