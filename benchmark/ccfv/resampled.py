"""CC-FV of many resamples of the cases, from one set of distances and energies.

A resample is a vector of counts c: how often each case was drawn (all ones: the original cases). It contains a pair of
different cases (i, j) c_i c_j times. A case drawn twice also forms a pair with its own copy, whose W2 is 0; no new case
would give that, so such pairs are left out and the mean is over the pairs kept,

    C_l = sum over classes of  sum_{i<j} c_i c_j W2_ij / sum_{i<j} c_i c_j,      V_l = sum_i c_i / E_i / sum_i c_i

over the pairs and cases that are counted. Counts of all ones give the score itself.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from benchmark.ccfv.layers import Missing, Reduction, Space, Terms, inverse_energies, layer_distances
from benchmark.ccfv.released import EPSILON
from benchmark.statistics.layer_samples import LayerSamples


def ccfv_resampled(
    layers: Iterable[LayerSamples],
    counts: Tensor,
    *,
    space: Space = "unit",
    energy: Reduction = "mean",
    s: int = 1,
    floor: float = 1e-3,
    missing: Missing = "undefined",
    terms: Terms = "both",
) -> Tensor:
    """CC-FV by the paper's formula, of each resample; the options are those of `ccfv_score`.

    Args:
        layers: sampled features of each layer; read once.
        counts: (b, m) integers, how often each case was drawn.
        space: "unit" or "raw".
        energy: "mean" or "sum".
        s: exponent of the energy.
        floor: smallest distance of the energy.
        missing: "undefined": a class without a counted pair makes the resample's score NaN; "skip": it is left out.
        terms: "both", "consistency" or "variety".

    Returns:
        (b,) float64; NaN for a resample whose score is undefined.

    Example:
        >>> draw = torch.Generator().manual_seed(0)
        >>> rows = [torch.randn(50, 4, generator=draw) + i for i in range(3)]
        >>> layer = LayerSamples([{1: row} for row in rows], rows)
        >>> ccfv_resampled([layer], torch.tensor([[1, 1, 1], [2, 1, 0], [3, 0, 0]])).isnan().tolist()
        [False, False, True]
    """
    weights = counts.double()
    logs = []
    for layer in layers:
        means = [pair_mean(distances, weights) for distances in layer_distances(layer).values()]
        inverses = inverse_energies(layer.scenes, space=space, energy=energy, s=s, floor=floor)
        variety, consistency = _mean(inverses, weights), _total(means, weights, missing)
        numerator = torch.ones_like(variety) if terms == "consistency" else variety
        logs.append(torch.log(numerator / (1.0 if terms == "variety" else consistency)))
    return torch.stack(logs).mean(dim=0) if logs else torch.full((len(weights),), math.nan, dtype=torch.float64)


def ccfv_released_resampled(layers: Iterable[LayerSamples], counts: Tensor) -> Tensor:
    """CC-FV as released, of each resample.

    The released sum over pairs grows with their number; here the sum over the pairs kept is scaled to the number of
    pairs of the original cases.

    Args:
        layers: sampled features of each layer; read once.
        counts: (b, m) integers, how often each case was drawn.

    Returns:
        (b,) float64; NaN for a resample whose score is undefined.
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


def pair_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean over pairs of different cases, weighted by how often a resample contains them.

    Args:
        values: (m, m) float64, symmetric; NaN for a pair that does not count.
        weights: (b, m) float64, how often each case was drawn.

    Returns:
        (b,) float64; NaN if no pair counts.

    Example:
        >>> pairs = torch.tensor([[0.0, 1.0, 4.0], [1.0, 0.0, 2.0], [4.0, 2.0, 0.0]]).double()
        >>> pair_mean(pairs, torch.tensor([[1, 1, 1], [2, 1, 1], [2, 0, 0]]).double()).tolist()
        [2.3333333333333335, 2.4, nan]
    """
    known = (~values.isnan()).double()
    known.fill_diagonal_(0.0)
    filled = torch.where(known > 0, values, 0.0)
    return ((weights @ filled) * weights).sum(dim=1) / ((weights @ known) * weights).sum(dim=1)


def _total(means: list[Tensor], weights: Tensor, missing: Missing) -> Tensor:
    """Sum over classes, (b,); NaN for a class without pairs, which "skip" leaves out if another class has pairs."""
    if not means:
        return torch.full((len(weights),), math.nan, dtype=torch.float64)
    table = torch.stack(means)
    total = table.nansum(dim=0) if missing == "skip" else table.sum(dim=0)
    return torch.where(total > 0, total, math.nan)


def _mean(values: list[float | None], weights: Tensor) -> Tensor:
    """Mean over the cases that have a value, (b,)."""
    known = [place for place, value in enumerate(values) if value is not None]
    known_values = torch.tensor([values[place] for place in known], dtype=torch.float64)
    return weights[:, known] @ known_values / weights[:, known].sum(dim=1)
