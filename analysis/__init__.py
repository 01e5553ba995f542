"""Compare transferability scores and controls with the truth.

The analysis only uses three frames: truth, scores and sources (see `analysis.evaluation.correlate`).
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "UndefinedAgreementWarning": "agreement.rank_measures",
    "pearson": "agreement.rank_measures",
    "kendall": "agreement.rank_measures",
    "weighted_kendall": "agreement.rank_measures",
    "spearman": "agreement.rank_measures",
    "rel_at_k": "agreement.rank_measures",
    "top1_regret": "agreement.rank_measures",
    "ndcg": "agreement.rank_measures",
    "split_half_reliability": "truth.reliability",
    "pearson_ceiling": "truth.ceiling",
    "simulated_ceiling": "truth.ceiling",
    "published_truth": "published",
    "Study": "evaluation.study",
}
__all__ = sorted(_PUBLIC)  # noqa: PLE0605 -- the table above is the one list of public names


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that importing the package is fast."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
