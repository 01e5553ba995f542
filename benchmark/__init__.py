"""Transferability estimation for 3D medical segmentation, measured against fine-tuned truth.

Public names are imported when first used, so that `python -m benchmark.score --help` stays fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.metric import Metric, Score, UndefinedScoreWarning
    from benchmark.statistics import ClassMoments, JointHistogram, Statistics

_HOMES = {
    "ClassMoments": "benchmark.statistics",
    "JointHistogram": "benchmark.statistics",
    "Metric": "benchmark.metric",
    "Score": "benchmark.metric",
    "Statistics": "benchmark.statistics",
    "UndefinedScoreWarning": "benchmark.metric",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'benchmark' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = ["ClassMoments", "JointHistogram", "Metric", "Score", "Statistics", "UndefinedScoreWarning"]
