"""How far the estimates can be trusted: scores against the truth, with every control beside them.

The package reads three frames (truth, scores, sources; see `analysis.correlate`) and nothing else.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "UndefinedAgreementWarning": "agreement",
    "pearson": "agreement",
    "kendall": "agreement",
    "weighted_kendall": "agreement",
    "spearman": "agreement",
    "rel_at_k": "agreement",
    "top1_regret": "agreement",
    "ndcg": "agreement",
    "split_half_reliability": "reliability",
    "pearson_ceiling": "ceiling",
    "simulated_ceiling": "ceiling",
    "published_truth": "published",
    "Study": "study",
}
__all__ = sorted(_PUBLIC)  # noqa: PLE0605 -- the table above is the one list of public names


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that importing the package costs nothing."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
