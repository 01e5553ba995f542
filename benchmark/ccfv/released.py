"""CC-FV as the authors' released code computes it, for checking published numbers.

    score = sum over layers of log(var_f / w)                                                    higher is better
    var_f = mean over pairs of cases of (|g_i - g_j|^2 + 1e-3)^(-1/2), g_i the mean sampled feature of case i
    w starts at 0; for each foreground class in order:  w += sum over pairs of W2;  then  w += 2 w / (m^2 k)

k counts the foreground classes, and g_i is taken over all sampled voxels of a case, background included.

Differences from the paper: var_f is an energy, not its inverse, and is computed on case means, not voxels; the sum over
pairs is not normalised but compounds from class to class; layers are summed. So the score depends on m, on k and on the
scale of the features, and can only be compared within one target.

Known faults of the released pipeline, which are fixed here: its forward hooks are removed after the first window batch,
so later windows reuse stale features; labels are neither permuted nor padded with the image; a missing label raises; a
failed checkpoint load is ignored and random weights are scored. Here a pair of cases that lacks a class is not counted,
and the reason says so.

Reference: Yang et al., MICCAI 2023, arXiv 2307.11958; github.com/EndoluminalSurgicalVision-IMR/CCFV, commit ba07768.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from benchmark.ccfv.layers import LayerGaussians, LayerMetric, layer_distances, pair_mean
from benchmark.metric.score import Score, undefined, value_or_warn
from benchmark.statistics import LayerSamples, Request, Statistics
from benchmark.statistics.protocol import Array

# Added under the square root, as released; it makes the score depend on the scale of the features
EPSILON = 1e-3


def ccfv_released_score(layers: Iterable[LayerSamples]) -> float:
    """CC-FV of sampled features, as released.

    Args:
        layers: sampled features of each layer; `scenes` has all sampled voxels of a case, background included.

    Returns:
        The score; NaN with an `UndefinedScoreWarning` where undefined.

    Example:
        >>> near, far = torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0], [5.0]])
        >>> round(ccfv_released_score([LayerSamples([{1: near}, {1: far}], [near, far])]), 4)  # log(1 / 3 / 4.5)
        -2.6027
    """
    return value_or_warn(ccfv_released_from_layers(layers))


def ccfv_released_from_layers(layers: Iterable[LayerSamples]) -> Score:
    """CC-FV as released, of layers that are read once, with parts w_1 and var_f_1 for the first layer, and so on."""
    total = 0.0
    reasons: list[str] = []
    parts: dict[str, float] = {}
    for place, layer in enumerate(layers, start=1):
        gaussians = LayerGaussians.of(layer)
        consistency = gaussians.consistency()
        w = released_distance(gaussians.distances) if math.isfinite(consistency.value) else math.nan
        means = [torch.as_tensor(scene).double().mean(dim=0) for scene in layer.scenes]
        variety = released_variety(torch.stack(means)) if means else math.nan
        parts[f"w_{place}"], parts[f"var_f_{place}"] = w, variety
        total += math.log(variety / w)
        reason = consistency.reason or ("a case without finite voxels" if math.isnan(variety) else "")
        reasons += [f"layer {place}: {reason}"] if reason else []
    return Score(total, reason="; ".join(reasons), parts=parts) if parts else undefined("no layers")


def ccfv_released_resampled(layers: Iterable[LayerSamples], counts: Tensor) -> Tensor:
    """CC-FV as released, of each resample; arguments and result as in `ccfv_resampled`.

    The released sum over pairs grows with their number; here the sum over the pairs kept is scaled to the number of
    pairs of the original cases.
    """
    weights = counts.double()
    m = weights.shape[1]
    score = torch.zeros(len(weights), dtype=torch.float64)
    for layer in layers:
        distances = layer_distances(layer)
        w = torch.zeros_like(score)
        for label in sorted(distances):
            pairs = float((~distances[label].isnan()).triu(diagonal=1).sum())
            w = (w + pairs * pair_mean(distances[label], weights)) * (1 + 2 / (m**2 * len(distances)))
        means = torch.stack([torch.as_tensor(scene).double().mean(dim=0) for scene in layer.scenes])
        kernel = (torch.cdist(means, means).square() + EPSILON).rsqrt()
        score = score + torch.log(pair_mean(kernel, weights) / w)
    return score


class CCFVReleased(LayerMetric):
    """CC-FV as released; `g_i` is the mean of the points of all classes of a case, background included."""

    name = "ccfv_released"

    @property
    def requires(self) -> tuple[Request, ...]:
        """Points per class and case."""
        return (self._points,)

    def _from_pass(self, statistics: Statistics) -> Iterable[LayerSamples]:
        points = statistics[self._points]
        for layer in range(-points.n_layers, 0):
            yield LayerSamples(points.classes(layer), points.scenes(layer))

    def _score(self, samples: Iterable[LayerSamples]) -> Score:
        return ccfv_released_from_layers(samples)

    def _resampled(self, layers: Iterable[LayerSamples], counts: Tensor) -> Tensor:
        return ccfv_released_resampled(layers, counts)


def released_distance(distances: dict[int, Tensor]) -> float:
    """Compounding sum w of one layer.

    Args:
        distances: (m, m) W2 by foreground label, from `layer_distances`; NaN is not counted.

    Returns:
        w; 0 without classes.

    Example:
        >>> pair = torch.tensor([[0.0, 3.0], [3.0, 0.0]])
        >>> released_distance({1: pair}), released_distance({1: pair, 2: pair})  # 3 x 1.5, (3 x 1.25 + 3) x 1.25
        (4.5, 8.4375)
    """
    w = 0.0
    for label in sorted(distances):
        matrix = distances[label]
        w += float(matrix.triu(diagonal=1).nansum())
        w += w * 2 / (len(matrix) ** 2 * len(distances))
    return w


def released_variety(points: Array) -> float:
    """Mean over pairs of points of (|a - b|^2 + 1e-3)^(-1/2).

    Args:
        points: (n, d) real numbers.

    Returns:
        var_f; NaN for fewer than 2 points, or if a number is NaN or inf.

    Example:
        >>> round(released_variety(torch.tensor([[0.0], [2.0]])), 6)
        0.499938
    """
    return float((torch.pdist(torch.as_tensor(points).double()).square() + EPSILON).rsqrt().mean())
