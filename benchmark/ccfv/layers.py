"""Class consistency and feature variety of one layer."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from benchmark.core.energy import riesz_energy
from benchmark.core.wasserstein import Factor, factor_samples, pairwise_wasserstein2
from benchmark.statistics.layer_samples import Array, LayerSamples

Missing: TypeAlias = Literal["undefined", "skip"]
Space: TypeAlias = Literal["unit", "raw"]
Reduction: TypeAlias = Literal["mean", "sum"]
Terms: TypeAlias = Literal["both", "consistency", "variety"]
TERMS = ("both", "consistency", "variety")

# A mean distance below this share of the features' size is float32 rounding, not a difference between cases.
CONSTANT = 1e-6


@dataclass(frozen=True)
class Consistency:
    """Class consistency of one layer.

    Attributes:
        value: C_l; NaN where undefined.
        pairs: number of unordered pairs of cases counted, by class.
        reason: why the value is NaN, or what was left out.
    """

    value: float
    pairs: Mapping[int, int]
    reason: str = ""


def layer_distances(layer: LayerSamples) -> dict[int, Tensor]:
    """Compute W2 between all pairs of cases, for each foreground class of one layer.

    Args:
        layer: sampled features of m cases.

    Returns:
        (m, m) float64 by label: 0 on the diagonal; NaN for a case with fewer than 2 points of the class, or if they
        contain NaN or inf.

    Example:
        >>> case = {1: torch.tensor([[0.0], [2.0]])}
        >>> layer_distances(LayerSamples([case, case, {}], [torch.zeros(2, 1)] * 3))[1].tolist()
        [[0.0, 0.0, nan], [0.0, 0.0, nan], [nan, nan, nan]]
    """
    return {label: pairwise_wasserstein2(_gaussians(layer, label)) for label in layer.foreground}


def class_consistency(layer: LayerSamples, *, missing: Missing = "undefined") -> Consistency:
    """Class consistency C_l: the sum over foreground classes of the mean W2 over pairs of cases.

    A pair counts if both cases have at least 2 points of the class; each class is averaged over its own counted pairs.

    Args:
        layer: sampled features of m cases.
        missing: "undefined": a class without a counted pair makes C_l NaN; "skip": it is left out.

    Returns:
        The value, the pairs counted, and what was left out.

    Raises:
        ValueError: if `missing` is unknown.

    Example:
        >>> one, two = {1: torch.tensor([[0.0], [2.0]])}, {1: torch.tensor([[3.0], [5.0]])}
        >>> class_consistency(LayerSamples([one, two], [torch.zeros(2, 1)] * 2)).value
        3.0
    """
    if missing not in ("undefined", "skip"):
        raise ValueError(f'`missing` must be "undefined" or "skip", got {missing!r}')
    means: dict[int, float] = {}
    pairs: dict[int, int] = {}
    size = 0.0
    for label in layer.foreground:
        gaussians = _gaussians(layer, label)
        known = [gaussian for gaussian in gaussians if gaussian is not None]
        if not all(gaussian.finite for gaussian in known):
            return Consistency(math.nan, pairs, f"features of class {label} hold NaN or inf")
        pairs[label] = len(known) * (len(known) - 1) // 2
        size = max([size, *(_size(gaussian) for gaussian in known)])
        if pairs[label]:
            means[label] = float(_upper(pairwise_wasserstein2(known)).mean())
    absent = [label for label in pairs if label not in means]
    if not means or (absent and missing == "undefined"):
        return Consistency(math.nan, pairs, f"class {absent or 'none'}: no two cases with at least 2 points each")
    if sum(means.values()) <= CONSTANT * size:
        return Consistency(math.nan, pairs, "the features of each class are the same in all cases: consistency is 0")
    return Consistency(sum(means.values()), pairs, _left_out(absent, pairs, layer.n_cases))


def feature_variety(
    scenes: Iterable[Array], *, space: Space = "unit", energy: Reduction = "mean", s: int = 1, floor: float = 1e-3
) -> float:
    """Feature variety V_l: the mean over cases of the inverse hyperspherical energy of their voxels.

    Args:
        scenes: for each case, (n, d) features at voxels of the whole image.
        space: "unit" scales each feature vector to unit length (a zero vector stays 0); "raw" does not.
        energy: "mean" over pairs, or "sum" over ordered pairs.
        s: exponent of the energy.
        floor: smallest distance of the energy.

    Returns:
        The mean over the cases with at least 2 voxels; NaN if there is none, or if a feature is NaN or inf.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> feature_variety([torch.tensor([[1.0, 0.0], [-7.0, 0.0]])])
        2.0
    """
    inverses = inverse_energies(scenes, space=space, energy=energy, s=s, floor=floor)
    known = [inverse for inverse in inverses if inverse is not None]
    return sum(known) / len(known) if known else math.nan


def inverse_energies(
    scenes: Iterable[Array], *, space: Space = "unit", energy: Reduction = "mean", s: int = 1, floor: float = 1e-3
) -> list[float | None]:
    """Inverse hyperspherical energy of each case's voxels; the arguments are those of `feature_variety`.

    Returns:
        A value for each case: NaN if a feature is NaN or inf, None for fewer than 2 voxels.
    """
    if space not in ("unit", "raw"):
        raise ValueError(f'`space` must be "unit" or "raw", got {space!r}')
    inverses: list[float | None] = []
    for scene in scenes:
        rows = torch.as_tensor(scene).double()
        if rows.shape[0] < 2:
            inverses.append(None)
            continue
        points = _on_sphere(rows) if space == "unit" else rows
        inverses.append(1 / riesz_energy(points, s=s, floor=floor, reduction=energy))
    return inverses


def _on_sphere(rows: Tensor) -> Tensor:
    norms = rows.norm(dim=1, keepdim=True)
    return rows / torch.where(norms > 0, norms, 1.0)


def _gaussians(layer: LayerSamples, label: int) -> list[Factor | None]:
    """Gaussian of a class in each case; None for fewer than 2 points."""
    samples = (case.get(label) for case in layer.classes)
    return [None if rows is None or len(rows) < 2 else factor_samples(torch.as_tensor(rows)) for rows in samples]


def _upper(matrix: Tensor) -> Tensor:
    rows, columns = torch.triu_indices(len(matrix), len(matrix), offset=1)
    return matrix[rows, columns]


def _size(gaussian: Factor) -> float:
    """Root mean square norm of the samples, with n - 1 in place of n for the covariance."""
    return math.sqrt(float(gaussian.mean.square().sum() + gaussian.root.square().sum()))


def _left_out(absent: list[int], pairs: Mapping[int, int], m: int) -> str:
    """Describe the classes and pairs that a value leaves out."""
    whole = m * (m - 1) // 2
    partly = [label for label, count in pairs.items() if 0 < count < whole]
    notes = [f"class {absent} left out"] if absent else []
    notes += [f"class {label}: {pairs[label]} of {whole} pairs counted" for label in partly]
    return "; ".join(notes)
