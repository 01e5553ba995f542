"""Mergeable statistics accumulated over a stream of windows; they can be split and merged in any order."""

from collections.abc import Iterable

from benchmark.statistics.case_points import CasePoints, CasePointsRequest, LayerSamples, ScenePointsRequest
from benchmark.statistics.collection import Forwarded, Statistics
from benchmark.statistics.expected_prediction import ExpectedPrediction, ExpectedPredictionRequest, read_again
from benchmark.statistics.joint import JointHistogram, JointRequest
from benchmark.statistics.moments import ClassMoments, ClassMomentsRequest
from benchmark.statistics.points import BalancedPointsRequest, PointSample
from benchmark.statistics.protocol import Array, OwnedWindow, PassContext, Request, Statistic
from benchmark.statistics.softmax import KEPT_CLASSES, SoftmaxRequest, StoredSoftmax
from benchmark.statistics.softmax_sample import SoftmaxSample, SoftmaxSampleRequest
from benchmark.statistics.stage_points import StagePointsRequest, StageSample

SOFTMAX = SoftmaxRequest()


def feature_request(request: Request) -> bool:
    """Whether a request can be answered for a source without a segmentation head."""
    return request.kind not in {JointHistogram, StoredSoftmax, ExpectedPrediction, SoftmaxSample}


def answerable(requests: Iterable[Request], z: int) -> list[Request]:
    """The distinct requests that one pass of a source with z classes answers, in their order; z is 0 without a head.

    Example:
        >>> answerable([JointRequest(), SoftmaxRequest()], 118)
        [JointRequest()]
        >>> answerable([JointRequest(), ClassMomentsRequest()], 0)
        [ClassMomentsRequest(layer=-1)]
    """
    return [
        request
        for request in dict.fromkeys(requests)
        if (z or feature_request(request)) and (z <= KEPT_CLASSES or request != SOFTMAX)
    ]


__all__ = [
    "KEPT_CLASSES",
    "SOFTMAX",
    "Array",
    "BalancedPointsRequest",
    "CasePoints",
    "CasePointsRequest",
    "ClassMoments",
    "ClassMomentsRequest",
    "ExpectedPrediction",
    "ExpectedPredictionRequest",
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
    "SoftmaxSample",
    "SoftmaxSampleRequest",
    "StagePointsRequest",
    "StageSample",
    "Statistic",
    "Statistics",
    "StoredSoftmax",
    "answerable",
    "feature_request",
    "read_again",
]
