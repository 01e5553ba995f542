"""TopoTE: the global topology of the decoder and the local topology of the encoder, fused over the pool.

    GRTD = sum over decoder stages, coarse to fine, of w_s GRTD_s
    LBTC = sum over encoder stages, fine to coarse, of v_s LBTC_s
    TopoTE = alpha N(GRTD) + (1 - alpha) N(LBTC),   alpha = tanh(log(C) / 2) = (C - 1) / (C + 1)

C is the number of foreground classes, so that a single one leaves LBTC only. N scales the values of all sources of one
target to [0, 1]; a range below 1e-9 is not divided by. The weights are Gaussians over a stage's number, divided by
their sum: of S decoder stages with centre (S - 1) / 2 and sigma 0.8, of S encoder stages with centre 0.6 (S - 1) and
sigma 0.9. For 5 decoder stages they are 0.022, 0.229, 0.499, 0.229, 0.022, and for 6 encoder stages 0.002, 0.038,
0.240, 0.444, 0.240, 0.038, as in the released code; for other numbers the reason of the score states them. Higher is
better. Without a pool the score is alpha GRTD + (1 - alpha) LBTC, which may order sources differently.

Reference: Tang, Zhang, Wang, Zhou, Liu, Chen, "Topology-Driven Transferability Estimation of Medical Foundation Models
for Segmentation", MICCAI 2026, arXiv 2602.23916.

Deviations: the spanning trees are complete, where the released ones drop every edge to sample 0 (see `grtd` and
`lbtc`). The released code has weights for 5 decoder and 6 encoder stages; the centres for other numbers are ours. Which
modules are the stages is discovered (`benchmark.sources.networks.stages`). Up to 800 points a class are sampled,
and 4,000 in all, so that fewer a class are for more than 5 classes. GRTD falls as the classes separate, contrary to
the paper's claim, and its sign is the paper's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from baselines.grtd import grtd_from_samples
from baselines.inputs.arrays import Array, Booleans, Floats, Samples, to_numpy
from baselines.inputs.stages import StageMetric, StageSamples, read_stages, why_unknown, with_stage
from baselines.lbtc import lbtc_from_samples
from baselines.ncti import pooled
from benchmark.metric.score import Score, undefined, value_or_warn
from benchmark.metric.standalone import require

SMALLEST_RANGE = 1e-9  # of a part over the pool, below which it is not divided by
DECODER_SIGMA, ENCODER_SIGMA = 0.8, 0.9
PUBLISHED_STAGES = (5, 6)  # of the decoder and of the encoder in the released code


def topote_score(
    decoder: Sequence[Array], encoder: Sequence[Array], labels: Array, boundary: Array, *, patch: int = 16
) -> float:
    """Compute alpha GRTD + (1 - alpha) LBTC of one source, without normalisation over a pool.

    Args:
        decoder: (n, d) real numbers for each stage of the decoder, coarse to fine; the rows are the same samples.
        encoder: the same for each stage of the encoder, fine to coarse.
        labels: (n,) integers, 0 .. k - 1; 0 is background.
        boundary: (n,) bool, whether a voxel has a neighbour of another class.
        patch: number of samples in a neighbourhood of LBTC.

    Returns:
        The score; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> line = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> topote_score([line], [line], np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0], bool), patch=3)
        0.5
    """
    rising, falling = read_stages(decoder, labels, name="decoder"), read_stages(encoder, labels, name="encoder")
    edge, n = to_numpy(boundary), len(to_numpy(labels))
    if edge.shape != (n,) or edge.dtype != np.bool_:
        raise ValueError(f"`boundary` must be bool of shape ({n},), got {edge.dtype} {edge.shape}")
    return value_or_warn(TopoTE(patch=patch)._score(StageSamples(falling, rising, edge)))


def combine_topote(scores: Mapping[str, Score]) -> dict[str, Score]:
    """TopoTE of all sources of one target, with both parts normalised over the sources.

    Args:
        scores: by source, with the parts "grtd", "lbtc" and "foreground", the number of foreground classes.

    Returns:
        alpha N(GRTD) + (1 - alpha) N(LBTC) of each source; sources without parts keep their NaN.

    Example:
        >>> pool = {"a": Score(0, parts={"grtd": -0.8, "lbtc": 0.5, "foreground": 3})}
        >>> pool["b"] = Score(0, parts={"grtd": -0.4, "lbtc": 0.4, "foreground": 3})
        >>> {name: score.value for name, score in combine_topote(pool).items()}
        {'a': 0.5, 'b': 0.5}
    """
    return pooled(scores, lambda of: _fused(_scaled(of("grtd")), _scaled(of("lbtc")), of("foreground")))


@dataclass(kw_only=True, eq=False)
class TopoTE(StageMetric):
    """TopoTE over the network's stages, computed from sampled points; `patch` as in `topote_score`.

    The score has the parts "grtd" and "lbtc", weighted over the stages, and "foreground", the number of foreground
    classes that have samples.
    """

    name = "topote"
    invariances = frozenset({"rotation", "scale", "shift"})
    # GRTD falls as the classes separate, and LBTC skips neighbourhoods of one class
    exempt = frozenset({"separation"})

    patch: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        require("patch", self.patch, "be at least 2 samples", self.patch >= 2)

    def combine(self, scores: Mapping[str, Score]) -> dict[str, Score]:
        """TopoTE of all sources of one target, from their scores."""
        return combine_topote(scores)

    def _score(self, stages: StageSamples) -> Score:
        for kind, samples in (("decoder", stages.decoder), ("encoder", stages.encoder)):
            if reason := why_unknown(samples, kind, stages.absent):
                return undefined(reason)
        weights = decoder_weights(len(stages.decoder)), encoder_weights(len(stages.encoder))
        grtd = _weighted(stages.decoder, "decoder", weights[0], grtd_from_samples)
        lbtc = _weighted(stages.encoder, "encoder", weights[1], lambda samples: self._local(samples, stages.boundary))
        if np.isnan(grtd.value) or np.isnan(lbtc.value):
            return grtd if np.isnan(grtd.value) else lbtc
        labels = next(iter(stages.encoder.values())).labels
        foreground = float((np.unique(labels) > 0).sum())
        value = _fused(*(np.array([part]) for part in (grtd.value, lbtc.value, foreground)))
        parts = {"grtd": grtd.value, "lbtc": lbtc.value, "foreground": foreground}
        return Score(float(value[0]), reason=_note(*weights), parts=parts)

    def _local(self, samples: Samples, boundary: Booleans) -> Score:
        return lbtc_from_samples(samples, boundary, patch=self.patch)


def decoder_weights(stages: int) -> Floats:
    """Weights (S,) of the decoder's stages, coarse to fine.

    Example:
        >>> decoder_weights(5).round(3).tolist()
        [0.022, 0.229, 0.499, 0.229, 0.022]
    """
    return _gaussian(stages, (stages - 1) / 2, DECODER_SIGMA)


def encoder_weights(stages: int) -> Floats:
    """Weights (S,) of the encoder's stages, fine to coarse.

    Example:
        >>> encoder_weights(6).round(3).tolist()
        [0.002, 0.038, 0.24, 0.444, 0.24, 0.038]
    """
    return _gaussian(stages, 0.6 * (stages - 1), ENCODER_SIGMA)


def _gaussian(stages: int, centre: float, sigma: float) -> Floats:
    weights = np.exp(-(((np.arange(stages) - centre) / sigma) ** 2) / 2)
    return np.asarray(weights / weights.sum())


def _weighted(stages: Mapping[str, Samples], kind: str, weights: Floats, estimate: Callable[[Samples], Score]) -> Score:
    """The weighted sum of an estimate over stages; NaN if it is undefined in one."""
    values = []
    for name, samples in stages.items():
        score = estimate(samples)
        if np.isnan(score.value):
            return undefined(with_stage(score.reason, kind, name, stages))
        values.append(score.value)
    return Score(float(weights @ np.array(values)))


def _fused(grtd: Floats, lbtc: Floats, foreground: Floats) -> Floats:
    """Combine values (n,) by alpha, which follows from the number of foreground classes (n,)."""
    alpha = (foreground - 1) / (foreground + 1)
    return np.asarray(alpha * grtd + (1 - alpha) * lbtc)


def _scaled(values: Floats) -> Floats:
    """Scale values (n,) to [0, 1]; a range below 1e-9 is left as it is."""
    span = float(np.ptp(values))
    return np.asarray((values - values.min()) / (span if span >= SMALLEST_RANGE else 1.0))


def _note(decoder: Floats, encoder: Floats) -> str:
    """The weights of the stages, where their numbers are not those of the released code."""
    if (len(decoder), len(encoder)) == PUBLISHED_STAGES:
        return ""
    return f"weights of {_listed(decoder, 'decoder', 'GRTD')}, of {_listed(encoder, 'encoder', 'LBTC')}"


def _listed(weights: Floats, kind: str, part: str) -> str:
    values = ", ".join(f"{weight:.3f}" for weight in weights)
    return f"{len(weights)} {kind} stage{'s' if len(weights) > 1 else ''} in {part}: {values}"
