"""The quality of the truth of a pool: reliability with an interval, ceiling and spread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.agreement.measure_table import PRIMARY
from analysis.agreement.source_bootstrap import SourceDraws
from analysis.truth.ceiling import ceiling, seed_variances
from analysis.truth.pools import Pool, Scope
from analysis.truth.reliability import resampled_reliability, why_unreliable

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Quality:
    """The quality of the truth of one target, or its mean over several.

    Attributes:
        scope: Whether it is the quality of one target or a mean.
        target: The target; for the mean over the targets of one scan, the scan; for other means "".
        tune: What was fine-tuned.
        sources: The number of sources in the pool; for a mean, the mean number.
        seeds: The number of seeds per source; for a mean, the mean number.
        targets: The number of targets averaged; 1 for a single target.
        spread: Best minus worst mean Dice.
        seed_sd: The square root of the mean variance of a source's Dice between seeds.
        reason: Why there is no reliability, or which sources with truth are not in the pool; otherwise "".
        reliability: Primary measure -> split-half reliability.
        resampled: Primary measure -> (b,) the same on each bootstrap resample of the sources.
        ceiling: Primary measure -> the expected agreement of a perfect predictor.
    """

    scope: Scope
    target: str
    tune: str
    sources: float
    seeds: float
    targets: int
    spread: float
    seed_sd: float
    reason: str
    reliability: Mapping[str, float]
    resampled: Mapping[str, Array]
    ceiling: Mapping[str, float]


def quality(pool: Pool, *, draws: SourceDraws, generator: np.random.Generator) -> Quality:
    """Reliability and ceiling of one pool.

    Args:
        pool: The truth.
        draws: The resamples of the sources.
        generator: Randomness of the simulated ceiling.

    Returns:
        The quality; NaN with the reason if the truth has fewer than 3 sources or 2 seeds.
    """
    undefined = why_unreliable(pool.dice)
    outside = "; ".join(f"without {source}: {why}" for source, why in pool.left_out.items())
    counts = np.concatenate([np.ones((1, len(pool.sources)), dtype=np.int64), draws.counts_of(pool.sources)])
    blank = np.full(len(counts), np.nan)
    reliabilities = {m.name: blank if undefined else resampled_reliability(pool.dice, counts, m) for m in PRIMARY}
    why = undefined or (
        "all sources are alike in one half of the seeds" if np.isnan(reliabilities[PRIMARY[0].name][0]) else ""
    )
    return Quality(
        scope=Scope.TARGET,
        target=pool.target,
        tune=pool.tune,
        sources=len(pool.sources),
        seeds=len(pool.seeds),
        targets=1,
        spread=pool.spread if pool.sources else float("nan"),
        seed_sd=float("nan") if undefined else float(np.sqrt(seed_variances(pool.dice).mean())),
        reason="; ".join(filter(None, (why, outside))),
        reliability={name: float(values[0]) for name, values in reliabilities.items()},
        resampled={name: values[1:] for name, values in reliabilities.items()},
        ceiling={m.name: float("nan") if why else ceiling(pool.dice, measure=m, generator=generator) for m in PRIMARY},
    )


def mean_quality(parts: Sequence[Quality], *, scope: Scope, target: str = "") -> Quality:
    """Average over targets (or over means of targets), draw by draw; NaN if any part is NaN."""
    first = parts[0]
    reasons = [f"{part.target}: {part.reason}" for part in parts if part.reason]
    return Quality(
        scope=scope,
        target=target,
        tune=first.tune,
        sources=float(np.mean([part.sources for part in parts])),
        seeds=float(np.mean([part.seeds for part in parts])),
        targets=sum(part.targets for part in parts),
        spread=float(np.mean([part.spread for part in parts])),
        seed_sd=float(np.mean([part.seed_sd for part in parts])),
        reason="; ".join(reasons),
        reliability={key: float(np.mean([part.reliability[key] for part in parts])) for key in first.reliability},
        resampled={key: np.mean([part.resampled[key] for part in parts], axis=0) for key in first.resampled},
        ceiling={key: float(np.mean([part.ceiling[key] for part in parts])) for key in first.ceiling},
    )
