"""The points of every metric and target, which the page draws on demand if there are too many panels to show."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.evaluation.study import Study
from analysis.plots.panels import cloud_of, score_table
from analysis.plots.style import KINDS, OTHER_KIND

MOST_POINTS = 25_000  # 0.3 MB of text; above that only the CSV has them
DIGITS = 5


def clouds(study: Study) -> dict[str, Any]:
    """Score against Dice of every metric and target.

    Args:
        study: The result of `correlate`.

    Returns:
        `targets` (name, sources, kinds, dice, error), `metrics` (name, scores and agreement per target), `colours` of
        the kinds; empty for more than 25,000 points.
    """
    metrics = [str(name) for name in study.agreement_of().index]
    if len(metrics) * sum(len(pool.sources) for pool in study.pools) > MOST_POINTS:
        return {}
    length = dict(zip(study.sources["source"], study.sources["length"], strict=True))
    scores = score_table(study)
    names = [pool.target for pool in study.pools]
    points = {metric: [cloud_of(study, scores, metric=metric, target=name) for name in names] for metric in metrics}
    found = {metric: study.agreement_targets(metric)["weighted_kendall"] for metric in metrics}
    return {
        "targets": [
            {
                "name": name,
                "sources": list(cloud.sources),
                "kinds": [str(length.get(source, "other")) for source in cloud.sources],
                "dice": _short(cloud.y),
                "error": _short(cloud.error),
            }
            for name, cloud in zip(names, points[metrics[0]], strict=True)
        ],
        "metrics": [
            {
                "name": metric,
                "scores": [_short(cloud.x) for cloud in points[metric]],
                "agreement": _short(found[metric].reindex(names).to_numpy(dtype=np.float64)),
            }
            for metric in metrics
        ],
        "colours": {kind: colour for kind, (_, colour) in KINDS.items()} | {"other": OTHER_KIND[1]},
    }


def _short(values: NDArray[np.float64]) -> list[float | None]:
    """Round to five digits; None (null in JSON) for values that are not finite."""
    return [float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in values]
