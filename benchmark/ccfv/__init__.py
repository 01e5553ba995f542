"""CC-FV, the metric that this project studies: by the paper's formula and as released, with the distances both use."""

from benchmark.ccfv.distances import pairwise_distances
from benchmark.ccfv.layers import class_consistency, feature_variety, layer_distances
from benchmark.ccfv.paper import CCFV, ccfv_from_layers, ccfv_resampled, ccfv_score
from benchmark.ccfv.released import (
    CCFVReleased,
    ccfv_released_from_layers,
    ccfv_released_resampled,
    ccfv_released_score,
    released_distance,
    released_variety,
)
from benchmark.ccfv.wasserstein import gaussian_wasserstein2, gaussian_wasserstein2_from_moments
from benchmark.statistics import LayerSamples

__all__ = [
    "CCFV",
    "CCFVReleased",
    "LayerSamples",
    "ccfv_from_layers",
    "ccfv_released_from_layers",
    "ccfv_released_resampled",
    "ccfv_released_score",
    "ccfv_resampled",
    "ccfv_score",
    "class_consistency",
    "feature_variety",
    "gaussian_wasserstein2",
    "gaussian_wasserstein2_from_moments",
    "layer_distances",
    "pairwise_distances",
    "released_distance",
    "released_variety",
]
