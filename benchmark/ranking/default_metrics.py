"""The metrics that `rank` uses by default, and what their choice rests on."""

from collections.abc import Collection

DEFAULT_METRICS = ("logme", "sfda", "nleep", "ncti", "leep", "transrate")  # as in conf/_ranking.yaml
EVIDENCE = (
    "These are the default metrics, the six with the largest sum of weighted Kendall over four studies "
    "(docs/explanation/published.md): the embedded suite, Table 1 of the paper on CC-FV, and two pools of "
    "classification networks. On the embedded suite, a demonstration of small networks on deformations of a few scans, "
    "LogME, SFDA and NLEEP agreed with the fine-tuned Dice, and none was better than a list that ignores the "
    "target. No agreement was shown there for CC-FV, which this project studies. metric=[...] chooses others."
)


def choice_of_metrics(names: Collection[str]) -> str:
    """What the choice of the default metrics rests on; empty if the metrics are not the default ones.

    Example:
        >>> choice_of_metrics(["knn", "ccfv"])
        ''
    """
    return EVIDENCE if set(names) == set(DEFAULT_METRICS) else ""
