"""Controls: baseline scores that use no features of the target.

    random              a random number per source and target from a seeded generator; its expected agreement is 0
    parameters          the number of parameters
    source_dice         the source's Dice on its own task
    source_cases        the number of cases the source was trained on
    static_leaderboard  the mean of (Dice - pool mean of that target) over the OTHER targets on which the source was
                        run; centred, because no source is run on its own task, so each source lacks a different target
    best_in_hindsight   the same mean over ALL targets, including the scored one: the best ranking that one fixed list
                        of sources could have given. It uses the truth, so it is a reference and not a competitor

A method that does not beat the static leaderboard has shown nothing (arXiv 2510.06448). For a network from scratch,
missing source Dice and source cases count as 0.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from analysis.truth.pools import Pool

FACTS = ("parameters", "source_dice", "source_cases")
CONTROLS = ("random", *FACTS, "static_leaderboard", "best_in_hindsight")
SCORE_COLUMNS = ("source", "target", "metric", "score", "reason", "seconds")


def control_scores(
    pools: Iterable[Pool], sources: pd.DataFrame, *, others: Sequence[Pool], generator: np.random.Generator
) -> pd.DataFrame:
    """Score the controls, as rows like those of the metrics.

    Args:
        pools: The pools to score.
        sources: Columns source, length, parameters, source_dice, source_cases.
        others: The pools that the static leaderboard may use (it leaves out the scored target itself).
        generator: Randomness of the random control.

    Returns:
        The columns `SCORE_COLUMNS`; seconds are 0.

    Raises:
        ValueError: A source of a pool has no row in `sources`.
    """
    known = _facts(sources)
    rows: list[tuple[str, str, str, float, str, float]] = []
    for pool in pools:
        if unknown := sorted(set(pool.sources) - set(known["parameters"])):
            raise ValueError(f"`sources` must have a row for each source of the truth, missing {', '.join(unknown)}")
        elsewhere = static_leaderboard([other for other in others if other.target != pool.target])
        everywhere = static_leaderboard([*(other for other in others if other.target != pool.target), pool])
        for source, number in zip(pool.sources, generator.random(len(pool.sources)), strict=True):
            values = {
                "random": float(number),
                **{name: known[name][source] for name in FACTS},
                "static_leaderboard": elsewhere.get(source, float("nan")),
                "best_in_hindsight": everywhere[source],
            }
            rows += [(source, pool.target, name, value, _why(name, value), 0.0) for name, value in values.items()]
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def with_controls(
    pools: Sequence[Pool],
    others: Sequence[Pool],
    scores: pd.DataFrame,
    sources: pd.DataFrame,
    *,
    generator: np.random.Generator,
) -> pd.DataFrame:
    """The scores of metrics and controls in one frame, with the column `kind`, "metric" or "control".

    Args as in `control_scores`; `scores` are those of the metrics, with the columns `SCORE_COLUMNS`.
    """
    controls = control_scores(pools, sources, others=others, generator=generator)
    metrics = scores[list(SCORE_COLUMNS)]
    return pd.concat([metrics.assign(kind="metric"), controls.assign(kind="control")], ignore_index=True)


def static_leaderboard(pools: Iterable[Pool]) -> dict[str, float]:
    """Each source's mean, over the targets on which it was run, of its Dice minus the pool's mean Dice.

    Args:
        pools: The pools to average over; leave out the target that is to be predicted.

    Returns:
        Source -> mean centred Dice.

    Example:
        >>> pool = Pool("liver", "last", ("a", "b"), (0,), np.array([[0.25], [0.75]]))
        >>> static_leaderboard([pool])
        {'a': -0.25, 'b': 0.25}
    """
    centred: dict[str, list[float]] = {}
    for pool in pools:
        for source, dice in zip(pool.sources, pool.mean - pool.mean.mean(), strict=True):
            centred.setdefault(source, []).append(float(dice))
    return {source: sum(values) / len(values) for source, values in centred.items()}


def _facts(sources: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Fact -> source -> its value; missing values of networks from scratch are 0."""
    table = sources.set_index("source")
    scratch = table["length"] == "scratch"
    columns = {name: table[name].astype(float) for name in FACTS}
    filled = {name: column.mask(column.isna() & scratch, 0.0) for name, column in columns.items()}
    return {name: dict(zip(map(str, table.index), column, strict=True)) for name, column in filled.items()}


def _why(name: str, value: float) -> str:
    if not np.isnan(value):
        return ""
    return "run on no other target" if name == "static_leaderboard" else f"its {name} is not recorded"
