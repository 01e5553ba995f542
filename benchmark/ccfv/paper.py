"""CC-FV by the paper's formula.

For decoder layer l, case i and foreground class c let F(i, c, l) be the Gaussian fitted to the features sampled at
voxels of class c. With W2 the Gaussian 2-Wasserstein distance and E_s the hyperspherical energy of a case's voxels,

    C_l = sum over c of the mean over pairs i != j of W2(F(i, c, l), F(j, c, l))
    V_l = mean over cases of 1 / E_s
    score = mean over layers of log(V_l / C_l)                                                   higher is better

Reference: Yang et al., "Pick the Best Pre-trained Model: Towards Transferability Estimation for Medical Image
Segmentation", MICCAI 2023, arXiv 2307.11958. Choices that the paper leaves open are parameters: by default the energy
is computed on features scaled to the unit sphere, as a mean over pairs with s = 1, and distances are floored at 1e-3 so
that coincident ReLU features do not dominate the score. `ccfv_released_score` is what the authors' released code
computes; it is a separate metric.
"""

import math
from collections.abc import Iterable

from benchmark.ccfv.layers import TERMS, Missing, Reduction, Space, Terms, class_consistency, feature_variety
from benchmark.metric.score import Score, value_or_warn
from benchmark.statistics.layer_samples import LayerSamples


def ccfv_score(
    layers: Iterable[LayerSamples],
    *,
    space: Space = "unit",
    energy: Reduction = "mean",
    s: int = 1,
    floor: float = 1e-3,
    missing: Missing = "undefined",
    terms: Terms = "both",
) -> float:
    """CC-FV of sampled features.

    Args:
        layers: sampled features of each layer, in any order.
        space: compute the energy on features scaled to the unit sphere ("unit") or as they are ("raw").
        energy: "mean" over pairs, or "sum" over ordered pairs.
        s: exponent of the energy.
        floor: smallest distance of the energy.
        missing: "undefined": a class without a counted pair makes the score NaN; "skip": it is left out.
        terms: "both", as in the paper; only "consistency", the mean of -log C_l; or only "variety", that of log V_l.

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
    return value_or_warn(
        ccfv_from_layers(layers, space=space, energy=energy, s=s, floor=floor, missing=missing, terms=terms)
    )


def ccfv_from_layers(
    layers: Iterable[LayerSamples],
    *,
    space: Space = "unit",
    energy: Reduction = "mean",
    s: int = 1,
    floor: float = 1e-3,
    missing: Missing = "undefined",
    terms: Terms = "both",
) -> Score:
    """CC-FV with its parts; the arguments are those of `ccfv_score`.

    Args:
        layers: sampled features of each layer, coarse to fine; read once.
        space: "unit" or "raw".
        energy: "mean" or "sum".
        s: exponent of the energy.
        floor: smallest distance of the energy.
        missing: "undefined" or "skip".
        terms: "both", "consistency" or "variety".

    Returns:
        The score, with parts consistency_1, variety_1 and pairs_1 for the first layer, and so on.
    """
    if terms not in TERMS:
        raise ValueError(f"`terms` must be one of {', '.join(TERMS)}, got {terms!r}")
    logs: list[float] = []
    reasons: list[str] = []
    parts: dict[str, float] = {}
    for place, layer in enumerate(layers, start=1):
        consistency = class_consistency(layer, missing=missing)
        variety = feature_variety(layer.scenes, space=space, energy=energy, s=s, floor=floor)
        parts[f"consistency_{place}"], parts[f"variety_{place}"] = consistency.value, variety
        parts[f"pairs_{place}"] = float(sum(consistency.pairs.values()))
        numerator = 1.0 if terms == "consistency" else variety
        logs.append(math.log(numerator / (1.0 if terms == "variety" else consistency.value)))
        note = "" if terms == "variety" else consistency.reason
        reason = note or ("variety: no case with 2 finite voxels" if math.isnan(numerator) else "")
        reasons += [f"layer {place}: {reason}"] if reason else []
    if not logs:
        return Score(math.nan, reason="no layers")
    return Score(sum(logs) / len(logs), reason="; ".join(reasons), parts=parts)
