"""Agreement within families: whether a metric ranks the sources of one family, or only tells families apart.

On each target the agreement is measured among the sources of each family by themselves, and averaged over families
weighted by their number of sources. A family with fewer than three sources on a target is left out.
"""

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from analysis.agreement.measure_table import PRIMARY
from analysis.agreement.rank_measures import FEWEST_SOURCES
from analysis.agreement.source_bootstrap import SourceDraws
from analysis.evaluation.evaluate import Evaluation, Missing, evaluate, mean_evaluation
from analysis.evaluation.prepared_truth import PreparedTruth
from analysis.truth.pools import Pool, Scope


def within_families(
    pool: Pool, draws: SourceDraws, scores: Mapping[str, pd.DataFrame], *, missing: Missing = "nan"
) -> dict[str, Evaluation]:
    """The agreement of every metric within families on one target.

    Args:
        pool: The truth.
        draws: The draws of the union of all pools, of several families.
        scores: Metric -> its rows, as in `analysis.evaluation.evaluate.evaluate`.
        missing: How scores that are not finite are handled.

    Returns:
        Metric -> the mean over families; empty if no family has three sources here.
    """
    families = [members for members in draws.family_of(pool.sources).values() if len(members) >= FEWEST_SOURCES]
    truths = [PreparedTruth(pool.only(members), draws.of_each_family(), resampled=PRIMARY) for members in families]
    means: dict[str, Evaluation] = {}
    for metric, rows in scores.items() if families else ():
        parts = [evaluate(truth, rows, metric=metric, missing=missing) for truth in truths]
        kept = [part for part in parts if missing == "nan" or part.counted >= FEWEST_SOURCES] or parts
        mean = mean_evaluation(kept, scope=Scope.TARGET, target=pool.target, weights=[part.sources for part in kept])
        reasons = dict.fromkeys(f"within a family: {part.reason}" for part in parts if part.reason)
        means[metric] = replace(mean, targets=1, reason="; ".join(reasons))
    return means
