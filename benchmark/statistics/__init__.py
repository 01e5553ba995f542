"""What a stream of windows is reduced to. Each statistic is a monoid: split anywhere, merge in any order."""

from benchmark.statistics.bag import Statistics
from benchmark.statistics.joint import JointHistogram, JointRequest
from benchmark.statistics.moments import ClassMoments, ClassMomentsRequest
from benchmark.statistics.protocol import Request, Scene, Statistic, Window

__all__ = [
    "ClassMoments",
    "ClassMomentsRequest",
    "JointHistogram",
    "JointRequest",
    "Request",
    "Scene",
    "Statistic",
    "Statistics",
    "Window",
]
