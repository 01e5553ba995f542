"""Transferability estimation for 3D medical segmentation, measured against fine-tuned truth.

Public names are imported when first used, so that `python -m benchmark.score --help` stays fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.ccfv import CCFV, CCFVReleased, LayerSamples, ccfv_released_score, ccfv_score, gaussian_wasserstein2
    from benchmark.features import reduce_stream
    from benchmark.metric.protocol import Metric
    from benchmark.metric.score import Score, UndefinedScoreWarning
    from benchmark.statistics import ClassMoments, JointHistogram, PointSample, Statistics

_HOMES = {
    "CCFV": "benchmark.ccfv",
    "CCFVReleased": "benchmark.ccfv",
    "ClassMoments": "benchmark.statistics",
    "JointHistogram": "benchmark.statistics",
    "LayerSamples": "benchmark.statistics",
    "Metric": "benchmark.metric.protocol",
    "PointSample": "benchmark.statistics",
    "Score": "benchmark.metric.score",
    "Statistics": "benchmark.statistics",
    "UndefinedScoreWarning": "benchmark.metric.score",
    "ccfv_released_score": "benchmark.ccfv",
    "ccfv_score": "benchmark.ccfv",
    "gaussian_wasserstein2": "benchmark.ccfv",
    "reduce_stream": "benchmark.features",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'benchmark' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [
    "CCFV",
    "CCFVReleased",
    "ClassMoments",
    "JointHistogram",
    "LayerSamples",
    "Metric",
    "PointSample",
    "Score",
    "Statistics",
    "UndefinedScoreWarning",
    "ccfv_released_score",
    "ccfv_score",
    "gaussian_wasserstein2",
    "reduce_stream",
]
