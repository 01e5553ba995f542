"""Mergeable statistics accumulated over a stream of windows; they can be split and merged in any order."""

from benchmark.statistics.case_points import CasePoints, CasePointsRequest, LayerSamples, ScenePointsRequest
from benchmark.statistics.collection import Forwarded, Statistics
from benchmark.statistics.joint import JointHistogram, JointRequest
from benchmark.statistics.moments import ClassMoments, ClassMomentsRequest
from benchmark.statistics.points import BalancedPointsRequest, PointSample
from benchmark.statistics.protocol import Array, OwnedWindow, PassContext, Request, Statistic
from benchmark.statistics.softmax import SoftmaxRequest, StoredSoftmax


def feature_request(request: Request) -> bool:
    """Whether a request can be answered for a source without a segmentation head."""
    return request.kind not in {JointHistogram, StoredSoftmax}


__all__ = [
    "Array",
    "BalancedPointsRequest",
    "CasePoints",
    "CasePointsRequest",
    "ClassMoments",
    "ClassMomentsRequest",
    "Forwarded",
    "JointHistogram",
    "JointRequest",
    "LayerSamples",
    "OwnedWindow",
    "PassContext",
    "PointSample",
    "Request",
    "ScenePointsRequest",
    "SoftmaxRequest",
    "Statistic",
    "Statistics",
    "StoredSoftmax",
    "feature_request",
]
