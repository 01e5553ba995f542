"""CC-FV by the paper's formula.

For decoder layer l, case i and foreground class c let F(i, c, l) be the Gaussian fitted to the features sampled at
voxels of class c. With W2 the Gaussian 2-Wasserstein distance and E_s the hyperspherical energy of a case's voxels,

    C_l = sum over c of the mean over pairs i != j of W2(F(i, c, l), F(j, c, l))
    V_l = mean over cases of 1 / E_s
    score = mean over layers of log(V_l / C_l)                                                   higher is better

Reference: Yang et al., "Pick the Best Pre-trained Model: Towards Transferability Estimation for Medical Image
Segmentation", MICCAI 2023, arXiv 2307.11958. By default the energy is computed on features scaled to the unit sphere,
which the paper's text and figure 1 speak of, with s = 1. It is a mean over pairs, so that it does not depend on the
number of voxels; equation 3 prints a sum, which is `energy="sum"`. Distances are floored at 1e-3 so that coincident
ReLU features do not dominate the score. The points per class and case are those of the released code; the text says
that they are proportional to the class's voxels, which is `counts="proportional"` (the rounding and the least number
are ours). `distance` puts a divergence in W2's place, as the paper's ablation does. `ccfv_released_score` is what the
authors' released code computes; it is a separate metric.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.ccfv.layers import (
    CcfvOptions,
    LayerGaussians,
    LayerMetric,
    Missing,
    feature_variety,
    inverse_energies,
    pair_mean,
)
from benchmark.errors import InputError
from benchmark.metric.score import Score, undefined, value_or_warn
from benchmark.statistics import LayerSamples, Request, ScenePointsRequest, Statistics


def ccfv_score(layers: Iterable[LayerSamples], **options: object) -> float:
    """CC-FV of sampled features.

    Args:
        layers: sampled features of each layer, in any order.
        options: parameters of `CcfvOptions`.

    Returns:
        The score; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> import torch
        >>> draw = torch.Generator().manual_seed(0)
        >>> rows = [torch.randn(50, 4, generator=draw) for _ in range(3)]
        >>> near = LayerSamples([{1: row} for row in rows], rows)
        >>> far = LayerSamples([{1: row + 5 * i} for i, row in enumerate(rows)], rows)
        >>> ccfv_score([near]) > ccfv_score([far])
        True
    """
    return value_or_warn(ccfv_from_layers(layers, **options))


def ccfv_from_layers(layers: Iterable[LayerSamples], **options: object) -> Score:
    """CC-FV of layers, coarse to fine, which are read once; arguments as in `ccfv_score`.

    The score has parts consistency_1, variety_1 and pairs_1 for the first layer, and so on.
    """
    return CCFV.of_samples(**options)._score(layers)


def ccfv_resampled(layers: Iterable[LayerSamples], counts: Tensor, **options: object) -> Tensor:
    """CC-FV of each resample of the cases, from one set of distances and energies.

        C_l = sum over classes of the `pair_mean` of the distance,      V_l = sum_i c_i / E_i / sum_i c_i

    Counts of all ones give the score itself.

    Args:
        layers: sampled features of each layer; read once.
        counts: (b, m) integers, how often each case was drawn.
        options: parameters of `CcfvOptions`; `missing` applies to each resample.

    Returns:
        (b,) float64; NaN for a resample whose score is undefined.

    Example:
        >>> draw = torch.Generator().manual_seed(0)
        >>> rows = [torch.randn(50, 4, generator=draw) + i for i in range(3)]
        >>> layer = LayerSamples([{1: row} for row in rows], rows)
        >>> ccfv_resampled([layer], torch.tensor([[1, 1, 1], [2, 1, 0], [3, 0, 0]])).isnan().tolist()
        [False, False, True]
    """
    return CCFV.of_samples(**options)._resampled(layers, counts)


@dataclass(kw_only=True, eq=False)
class CCFV(CcfvOptions, LayerMetric):
    """CC-FV by the paper's formula.

    Attributes:
        scene_count: points per case, uniform over its voxels, for the variety.
        places: indices of the layers in `counts` that are scored, 0 the coarsest; None for all.
    """

    name = "ccfv"

    scene_count: int = 1000
    places: Sequence[int] | None = None

    def __post_init__(self) -> None:
        CcfvOptions.__post_init__(self)
        LayerMetric.__post_init__(self)
        layers = len(self._layer_counts)
        if not self._places or not self._places <= set(range(layers)):
            raise InputError(f"places must be indices of counts, 0 to {layers - 1}, got {self.places}")

    @property
    def _places(self) -> set[int]:
        return set(range(len(self._layer_counts)) if self.places is None else self.places)

    @property
    def requires(self) -> tuple[Request, ...]:
        """Points per class and case, and points per case."""
        return self._points, ScenePointsRequest(count=self.scene_count, layers=len(self._layer_counts), seed=self.seed)

    def _from_pass(self, statistics: Statistics) -> Iterable[LayerSamples]:
        points, scenes = (statistics[request] for request in self.requires)
        chosen = {place - len(self._layer_counts) for place in self._places}
        for layer in sorted(chosen & set(range(-points.n_layers, 0))):
            yield LayerSamples(points.classes(layer), scenes.scenes(layer))

    def _score(self, samples: Iterable[LayerSamples]) -> Score:
        logs: list[float] = []
        reasons: list[str] = []
        parts: dict[str, float] = {}
        for place, layer in enumerate(samples, start=1):
            consistency = LayerGaussians.of(layer, self.distance, self.shrinkage).consistency(self.missing)
            variety = feature_variety(layer.scenes, space=self.space, energy=self.energy, s=self.s, floor=self.floor)
            parts[f"consistency_{place}"], parts[f"variety_{place}"] = consistency.value, variety
            parts[f"pairs_{place}"] = float(sum(consistency.pairs.values()))
            numerator = 1.0 if self.terms == "consistency" else variety
            logs.append(math.log(numerator / (1.0 if self.terms == "variety" else consistency.value)))
            note = "" if self.terms == "variety" else consistency.reason
            reason = note or ("variety: no case with 2 finite voxels" if math.isnan(numerator) else "")
            reasons += [f"layer {place}: {reason}"] if reason else []
        if not logs:
            return undefined("no layers")
        return Score(sum(logs) / len(logs), reason="; ".join(reasons), parts=parts)

    def _resampled(self, layers: Iterable[LayerSamples], counts: Tensor) -> Tensor:
        weights = counts.double()
        logs = []
        for layer in layers:
            consistency = _total(LayerGaussians.of(layer, self.distance, self.shrinkage), weights, self.missing)
            variety = _mean(inverse_energies(layer.scenes, self), weights)
            numerator = torch.ones_like(variety) if self.terms == "consistency" else variety
            logs.append(torch.log(numerator / (1.0 if self.terms == "variety" else consistency)))
        return torch.stack(logs).mean(dim=0) if logs else torch.full((len(weights),), math.nan, dtype=torch.float64)


def _total(gaussians: LayerGaussians, weights: Tensor, missing: Missing) -> Tensor:
    """Class consistency of each resample, (b,).

    It is NaN for a class without pairs, which "skip" leaves out if another class has pairs, and for a resample with a
    pair whose distance is undefined.
    """
    if not gaussians.gaussians:
        return torch.full((len(weights),), math.nan, dtype=torch.float64)
    table = torch.stack([pair_mean(distances, weights) for distances in gaussians.distances.values()])
    total = table.nansum(dim=0) if missing == "skip" else table.sum(dim=0)
    undefined = sum(gaussians.undefined_pairs(label).double() for label in gaussians.gaussians)
    return torch.where((total > 0) & (((weights @ undefined) * weights).sum(dim=1) == 0), total, math.nan)


def _mean(values: list[float | None], weights: Tensor) -> Tensor:
    """Mean over the cases that have a value, (b,)."""
    known = [place for place, value in enumerate(values) if value is not None]
    known_values = torch.tensor([values[place] for place in known], dtype=torch.float64)
    return weights[:, known] @ known_values / weights[:, known].sum(dim=1)
