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

_HOMES = ("statistics", "ccfv", "features", "metric.protocol", "metric.score")  # modules of the public names


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'benchmark' has no attribute {name!r}")
    homes = (importlib.import_module(f"benchmark.{home}") for home in _HOMES)
    return next(getattr(home, name) for home in homes if hasattr(home, name))


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
