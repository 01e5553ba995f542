"""The metrics that `rank` uses by default, and what their choice rests on."""

from collections.abc import Collection

DEFAULT_METRICS = ("ccfv", "logme", "gbc", "h_score", "leep", "knn")  # as in conf/rank.yaml
EVIDENCE = (
    "These are the default metrics. In the last bench of the embedded suite, a demonstration of small networks on "
    "deformations of a few scans, only kNN of them agreed with the fine-tuned Dice; with an earlier pool and only the "
    "decoder tuned, H-score, LEEP and GBC did, too. None was clearly better than a list that ignores the target. No "
    "agreement was shown there for CC-FV, which this project studies. metric=[...] chooses others."
)


def choice_of_metrics(names: Collection[str]) -> str:
    """What the choice of the default metrics rests on; empty if the metrics are not the default ones.

    Example:
        >>> choice_of_metrics(["knn", "ccfv"])
        ''
    """
    return EVIDENCE if set(names) == set(DEFAULT_METRICS) else ""
