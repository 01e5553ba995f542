"""The rule by which `rank` chooses its default metrics.

Written down before its outcome was looked at: the `COUNT` metrics with the largest sum of weighted Kendall over the
embedded suite (`make bench`; estimates that need one pass over the target and no data of the source), Table 1 of Yang
et al. and the two pools of MedMNIST. Each figure is the mean over those of the study's targets on which the metric is
defined; a metric that a study lacks counts 0 there.

`embedded_suite.csv` holds the figures of the bench that the README shows: the rows with subset all, scope mean and kind
metric of `outputs/study/scans/agreement.csv`.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.published import MEAN, published_agreement, published_path

COUNT = 6
EMBEDDED, TABLE_1, SUM = "embedded_suite", "table_1", "sum"
MEDMNIST = ("medmnist_datasets", "medmnist_architectures")


def sums(pools: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The weighted Kendall of each metric of the embedded suite in each study.

    Args:
        pools: Published pool -> the content of its audit.json; those of `MEDMNIST` are needed.

    Returns:
        Index metric; columns embedded_suite, table_1, medmnist_datasets, medmnist_architectures (NaN if the study lacks
        the metric) and sum; the largest sum first.
    """
    embedded = pd.read_csv(published_path(EMBEDDED)).set_index("metric")["weighted_kendall"]
    agreement = published_agreement()
    printed = agreement[agreement["target"] == MEAN].set_index("metric")["weighted_kendall"]
    table = pd.DataFrame({EMBEDDED: embedded, TABLE_1: printed.reindex(embedded.index)})
    for name in MEDMNIST:
        figures = {
            metric: (row if pd.notna(row["weighted_kendall"]) else row["where_defined"])["weighted_kendall"]
            for metric, row in pools[name]["estimates"].items()
        }
        table[name] = pd.Series(figures, dtype=float).reindex(embedded.index)
    return table.assign(**{SUM: table.fillna(0.0).sum(axis=1)}).sort_values(SUM, ascending=False, kind="stable")
