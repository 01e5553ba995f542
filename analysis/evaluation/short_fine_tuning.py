"""Short fine-tuning: the Dice on validation cases after a part of the steps, as a score with its measured cost.

Instead of estimating how well a source transfers, one can start to fine-tune every source and look. Let v_is(r) be the
Dice of source i on the target's validation cases after the share r = 1/8, 1/4 or 1/2 of the steps of the fine-tuning
with seed s, and d_it its Dice on the test cases after all steps with seed t. The scores v_is(r) and the truth d_is come
from the same training and share its chance, so a choice made with seed s is judged by the other seeds:

    y_is = mean over t != s of d_it
    agreement(r) = mean over s of the agreement of v_is(r) with y_is over the sources i

Higher is better. Resamples and permutations of the sources are averaged over s draw by draw, as a mean over targets is,
and a target counts once however many seeds it has. The validation cases are in no training and in no truth.

The cost is measured: the seconds of training up to the rung and of predicting the validation cases there, mean over
seeds and sources. It has to be paid for every source, like the pass of an estimate.

The mean of the other seeds is noisier than the mean of all seeds, by which estimates are judged, so its agreement and
its share of the ceiling are a little too low. It is the beginning of what it predicts: a baseline, not an estimate. So
it does not count among the estimates in corrections for having looked at many, nor as the best of them, and it is left
out of the critical difference. It is undefined with a single seed, and where a source has no Dice on the validation
cases.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.evaluation.evaluate import Evaluation, mean_evaluation
from analysis.evaluation.kinds import RUNG_OF, STEPS_OF, TRAINING
from analysis.truth.pools import Pool, Scope, own_tune

Array = NDArray[np.float64]
RUNG_COLUMNS = ("source", "target", "seed", "tune", "rung", "dice", "seconds")
MEASURED = ("dice", "seconds")
ONE_SEED = "a single fine-tuning seed, and no other to judge its choice by"
SeedScores = Mapping[int, pd.DataFrame]  # seed -> columns score, reason, seconds, indexed by source


@dataclass(frozen=True)
class ShortFineTuning:
    """The Dice on validation cases during fine-tuning, and what it took.

    Attributes:
        rungs: Columns `RUNG_COLUMNS`: one row per fine-tuning and rung.
        names: The scores that it gives, cheapest first; none without a rung before the last.
        tables: Target, what is tuned and score -> "dice" and "seconds" -> source x seed.
    """

    rungs: pd.DataFrame
    names: tuple[str, ...] = ()
    tables: Mapping[tuple[str, str, str], Mapping[str, pd.DataFrame]] = field(default_factory=dict)

    @classmethod
    def of(cls, rungs: pd.DataFrame) -> "ShortFineTuning":
        """Read a frame of rungs, each source, target, seed, tune and rung once."""
        names = tuple(name for name, rung in RUNG_OF.items() if (rungs["rung"] == rung).any())
        tables = {}
        for name in names:
            rows = rungs[rungs["rung"] == RUNG_OF[name]]
            for (target, tune), part in rows.groupby(["target", "tune"]):
                tables[str(target), str(tune), name] = {
                    column: part.pivot_table(index="source", columns="seed", values=column, dropna=False)
                    for column in MEASURED
                }
        return cls(rungs, names, tables)

    def scores(self, pool: Pool, name: str) -> Array:
        """(n, s) float64, the score of each source and seed of a pool; NaN where it is missing."""
        return self._values(pool, name, "dice")

    def seconds(self, pool: Pool, name: str) -> Array:
        """(n, s) float64, what each score took; NaN where it is missing."""
        return self._values(pool, name, "seconds")

    def _values(self, pool: Pool, name: str, column: str) -> Array:
        table = self.tables.get((pool.target, own_tune(pool.tune), name))
        if table is None:
            return np.full((len(pool.sources), len(pool.seeds)), np.nan)
        return table[column].reindex(index=list(pool.sources), columns=list(pool.seeds)).to_numpy(dtype=np.float64)


def no_rungs() -> pd.DataFrame:
    """A frame of rungs without rows."""
    return pd.DataFrame(columns=list(RUNG_COLUMNS))


def seed_scores(pool: Pool, short: ShortFineTuning) -> dict[str, SeedScores]:
    """The scores of short fine-tuning with each seed of a pool; of a pool of another patient, those of the target.

    Args:
        pool: The truth.
        short: What was measured.

    Returns:
        Score -> seed -> its rows for all sources of the pool.
    """
    return {
        name: {
            seed: pd.DataFrame(
                {"score": scores, "reason": _reasons(scores, name), "seconds": seconds}, index=list(pool.sources)
            )
            for seed, scores, seconds in zip(
                pool.seeds, short.scores(pool, name).T, short.seconds(pool, name).T, strict=True
            )
        }
        for name in short.names
    }


def with_short_fine_tuning(scores: pd.DataFrame, pools: Sequence[Pool], short: ShortFineTuning) -> pd.DataFrame:
    """Add short fine-tuning to the scores of the metrics: the mean over the seeds of the scores of `seed_scores`.

    Tables and figures that show a score per source have these means; agreement is measured for each seed.

    Args:
        scores: Columns source, target, metric, score, reason, seconds, and optionally kind.
        pools: The pools, one per target.
        short: What was measured.

    Returns:
        The same columns, with kind if there is short fine-tuning; NaN with the reason if a seed has no score.
    """
    frames = []
    for pool in (pool for pool in pools if pool.sources):
        for name in short.names:
            means = short.scores(pool, name).mean(axis=1)
            columns = {"score": means, "reason": _reasons(means, name), "seconds": _mean(short.seconds(pool, name))}
            about = {"source": pool.sources, "target": pool.target, "metric": name, "kind": TRAINING}
            frames.append(pd.DataFrame(about | columns))
    return pd.concat([scores, *frames], ignore_index=True) if frames else scores


def judged_by_other_seeds(
    pool: Pool,
    scores: Mapping[str, SeedScores],
    evaluated: Callable[[Pool, Mapping[str, pd.DataFrame]], Mapping[str, Evaluation]],
) -> dict[str, Evaluation]:
    """Evaluate short fine-tuning on one target: the mean over the seeds, each judged by the other seeds.

    Args:
        pool: The truth.
        scores: The result of `seed_scores`.
        evaluated: Evaluates the scores of one seed, score -> rows, on the pool without that seed.

    Returns:
        Score -> its evaluation; NaN with the reason for a single seed. Empty if `evaluated` gives nothing.
    """
    if not scores:
        return {}
    several = len(pool.seeds) > 1
    by_seed = {
        seed: evaluated(
            pool.without_seed(seed) if several else pool, {name: rows[seed] for name, rows in scores.items()}
        )
        for seed in pool.seeds
    }
    means: dict[str, Evaluation] = {}
    for name in next(iter(by_seed.values())):
        parts = {seed: evaluations[name] for seed, evaluations in by_seed.items()}
        mean = mean_evaluation(list(parts.values()), scope=Scope.TARGET, target=pool.target)
        counted = min(part.counted for part in parts.values())
        mean = replace(mean, targets=1, counted=counted, reason=_reason(parts))
        means[name] = mean if several else _undefined(mean)
    return means


def _reasons(scores: Array, name: str) -> NDArray[np.str_]:
    """(n,) why each score is NaN, or ""."""
    return np.where(np.isfinite(scores), "", f"no validation Dice after {STEPS_OF[name]} of the steps")


def _mean(seconds: Array) -> Array:
    """(n,) the mean over the seeds with a value; NaN without any."""
    known = np.isfinite(seconds)
    with np.errstate(invalid="ignore"):
        means: Array = np.nan_to_num(seconds).sum(axis=1) / known.sum(axis=1)
    return means


def _reason(parts: Mapping[int, Evaluation]) -> str:
    """The reasons of all seeds, each once; one that does not hold for every seed names its seeds."""
    seeds: dict[str, list[int]] = {}
    for seed, part in parts.items():
        if part.reason:
            seeds.setdefault(part.reason, []).append(seed)
    return "; ".join(
        reason if len(own) == len(parts) else f"with seed {', '.join(map(str, own))}: {reason}"
        for reason, own in seeds.items()
    )


def _undefined(evaluation: Evaluation) -> Evaluation:
    """The evaluation with an agreement of NaN, for a single seed."""
    nan, agreement = float("nan"), evaluation.agreement

    def blank(arrays: Mapping[str, Array]) -> dict[str, Array]:
        return {name: np.full_like(values, nan) for name, values in arrays.items()}

    undefined = replace(
        agreement,
        value=dict.fromkeys(agreement.value, nan),
        resampled=blank(agreement.resampled),
        null=blank(agreement.null),
        jackknife=blank(agreement.jackknife),
        redrawn={kind: blank(arrays) for kind, arrays in agreement.redrawn.items()},
        of_families=blank(agreement.of_families),
    )
    return replace(evaluation, agreement=undefined, reason=ONE_SEED, within_noise=nan)
