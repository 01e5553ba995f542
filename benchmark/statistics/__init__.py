"""What a stream of windows is reduced to. Each statistic is a monoid: split anywhere, merge in any order."""

from benchmark.statistics.bag import Forwarded, Statistics
from benchmark.statistics.case_points import CasePoints
from benchmark.statistics.case_requests import CasePointsRequest, ScenePointsRequest
from benchmark.statistics.joint import JointHistogram, JointRequest
from benchmark.statistics.layer import LayerSamples
from benchmark.statistics.moments import ClassMoments, ClassMomentsRequest
from benchmark.statistics.points import BalancedPointsRequest, PointSample
from benchmark.statistics.protocol import Request, Scene, Statistic, Window
from benchmark.statistics.softmax import SoftmaxRequest, StoredSoftmax


def feature_request(request: Request) -> bool:
    """Whether a statistic can be accumulated from a source without a segmentation head."""
    return request.kind not in {JointHistogram, StoredSoftmax}


__all__ = [
    "BalancedPointsRequest",
    "CasePoints",
    "CasePointsRequest",
    "ClassMoments",
    "ClassMomentsRequest",
    "Forwarded",
    "JointHistogram",
    "JointRequest",
    "LayerSamples",
    "PointSample",
    "Request",
    "Scene",
    "ScenePointsRequest",
    "SoftmaxRequest",
    "Statistic",
    "Statistics",
    "StoredSoftmax",
    "Window",
    "feature_request",
]
