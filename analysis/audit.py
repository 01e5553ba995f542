"""How hard a truth is to predict, before any estimate is computed.

If the same sources are good everywhere, a fixed list of them (the static leaderboard, `analysis.controls`) ranks every
new target well, and an estimate that does no better has shown nothing (arXiv 2510.06448). The audit says how well that
list does, how much the ranks of the sources move between targets, how far apart the sources are, how many pairs are
tied within a resolution of the Dice, and on which targets and sources the answer hangs.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.controls import static_leaderboard
from analysis.draws import Draws, draw
from analysis.evaluate import Evaluation, evaluate, mean_evaluation
from analysis.measures import PRIMARY, WEIGHTED_KENDALL
from analysis.pools import Pool, pools
from analysis.rows import measured
from analysis.study import MEAN
from analysis.yardstick import Yardstick

TABLE_COLUMNS = ("source", "target", "dice")
RESOLUTION = 0.005  # half a Dice point, about what a change of the fine-tuning seed moves in large studies


@dataclass(frozen=True)
class Audit:
    """What a table of truth says about itself.

    Attributes:
        static: For each of Pearson, Kendall and weighted Kendall the static leaderboard's mean agreement over targets
            (leave one target out), with `_low` and `_high` of its 95% interval over sources.
        reason: Why that is NaN, or "".
        rank_sd: Mean over sources of the standard deviation of the source's rank over the targets.
        rank_sd_random: The same if each target ranked its n sources at random: sqrt((n^2 - 1) / 12).
        resolution: Two Dice this close count as tied.
        by_target: One row a target: sources, spread, tied (share of pairs), the static leaderboard's agreement, and
            `weighted_kendall_others`, the mean over the other targets.
        by_source: One row a source: targets, mean_rank (1 is best), rank_sd, and `weighted_kendall_without`, the static
            leaderboard's mean agreement when the source is left out of everything.
    """

    static: dict[str, float]
    reason: str
    rank_sd: float
    rank_sd_random: float
    resolution: float
    by_target: pd.DataFrame
    by_source: pd.DataFrame

    def json(self) -> str:
        """The audit as JSON: `static_leaderboard` with its measures and intervals, and the rest beside it."""
        facts = {
            "static_leaderboard": self.static | {"reason": self.reason},
            "rank_sd": self.rank_sd,
            "rank_sd_random": self.rank_sd_random,
            "resolution": self.resolution,
            "targets": self.by_target.to_dict("records"),
            "sources": self.by_source.to_dict("records"),
        }
        return json.dumps(_without_nan(facts), indent=2)


def audit(
    table: pd.DataFrame,
    *,
    sources: Collection[str] | None = None,
    resolution: float = RESOLUTION,
    resamples: int = 2000,
    seed: int = 0,
) -> Audit:
    """Audit a table of truth.

    Args:
        table: Columns source, target, dice (a fraction), and optionally seed; a pair with several seeds counts by its
            mean.
        sources: The sub-pool to audit; all sources where None.
        resolution: Two Dice this close count as tied.
        resamples: How many bootstrap draws.
        seed: Their seed.

    Returns:
        The audit.

    Raises:
        ValueError: A column is missing, a row stands twice, a Dice is no fraction, or there are fewer than 2 targets.

    Example:
        >>> from analysis.published import published_truth
        >>> found = audit(published_truth("openmind_resenc_l"), resamples=50)
        >>> round(found.static["weighted_kendall"], 2)
        0.4
    """
    every = _pools(table, sources)
    if len(every) < 2:
        raise ValueError(f"`table` must hold at least 2 targets, got {len(every)}")
    draws = draw([name for pool in every for name in pool.sources], resamples=resamples, generator=_generator(seed))
    found = _static(every, draws)
    mean = mean_evaluation(found, name=MEAN)
    ranks = pd.DataFrame({pool.target: pd.Series(-pool.mean, index=list(pool.sources)).rank() for pool in every})
    size = float(np.mean([len(pool.sources) for pool in every]))
    return Audit(
        static={key: value for measure in PRIMARY for key, value in measured(mean, measure).items()},
        reason=mean.reason,
        rank_sd=float(ranks.std(axis=1, ddof=1).mean()),
        rank_sd_random=float(np.sqrt((size**2 - 1) / 12)),
        resolution=resolution,
        by_target=_by_target(every, found, resolution),
        by_source=_by_source(every, ranks),
    )


def _generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _pools(table: pd.DataFrame, sources: Collection[str] | None) -> tuple[Pool, ...]:
    if missing := [name for name in TABLE_COLUMNS if name not in table.columns]:
        raise ValueError(f"`table` must have the columns {', '.join(TABLE_COLUMNS)}, lacks {', '.join(missing)}")
    truth = table.assign(tune="as given")
    every = pools(truth if "seed" in truth else truth.assign(seed=0))
    return every if sources is None else tuple(pool.only(sources) for pool in every)


def _static(every: Sequence[Pool], draws: Draws) -> list[Evaluation]:
    """The static leaderboard's agreement on each target, that target left out of it."""
    found = []
    for pool in every:
        score = pd.Series(static_leaderboard(other for other in every if other is not pool), dtype=float)
        rows = score.rename("score").to_frame().assign(reason="", seconds=0.0)
        yardstick = Yardstick(pool.sources, pool.mean, draws, {})
        found.append(evaluate(pool, rows, metric="static_leaderboard", yardstick=yardstick))
    return found


def _by_target(every: Sequence[Pool], found: Sequence[Evaluation], resolution: float) -> pd.DataFrame:
    values = np.array([item.agreement.value[WEIGHTED_KENDALL.name] for item in found])
    others = (values.sum() - values) / (len(values) - 1)
    rows = []
    for pool, item, rest in zip(every, found, others, strict=True):
        upper = np.triu_indices(len(pool.sources), 1)
        gaps = np.abs(pool.mean[:, None] - pool.mean[None, :])[upper]
        facts = {"target": pool.target, "sources": len(pool.sources), "spread": pool.spread}
        facts |= {"tied": float((gaps <= resolution).mean()), "reason": item.reason}
        rows.append(facts | dict(item.agreement.value) | {"weighted_kendall_others": float(rest)})
    return pd.DataFrame(rows)


def _by_source(every: Sequence[Pool], ranks: pd.DataFrame) -> pd.DataFrame:
    """Ranks of each source, and what the static leaderboard is without it."""
    rows = []
    for source in ranks.index:
        left = [pool.only(set(pool.sources) - {source}) for pool in every]
        once = draw([name for pool in left for name in pool.sources], resamples=1, generator=_generator(0))
        without = mean_evaluation(_static(left, once), name=MEAN).agreement.value[WEIGHTED_KENDALL.name]
        own = ranks.loc[source]
        facts = {"source": source, "targets": int(own.notna().sum()), "mean_rank": float(own.mean())}
        rows.append(facts | {"rank_sd": float(own.std(ddof=1)), "weighted_kendall_without": without})
    return pd.DataFrame(rows).sort_values("mean_rank", kind="stable", ignore_index=True)


def _without_nan(value: object) -> object:
    """JSON has no NaN: null in its place, throughout."""
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
