"""Controls: baseline scores that use no features of the target.

    random              a random number per source and target from a seeded generator; its expected agreement is 0
    parameters          the number of parameters
    source_dice         the source's Dice on its own task
    source_cases        the number of cases the source was trained on
    family              the mean of what the static leaderboard gives the sources of the same family
    pretrained          1 for a pre-trained source, 0 for one from scratch
    family_pretrained   as `family`, separately for the pre-trained sources of a family and those from scratch
    static_leaderboard  the mean of (Dice - pool mean of that target) over the OTHER targets on which the source was
                        run; centred, because no source is run on its own task, so each source lacks a different target
    best_in_hindsight   the same mean over ALL targets, including the scored one: the best ranking that one fixed list
                        of sources could have given. It uses the truth, so it is a reference and not a competitor

`family`, `pretrained` and `family_pretrained` tie many sources. Ties raise the expected weighted Kendall of scores that
tell nothing above 0; tables state that chance level.

A method that does not beat the static leaderboard has shown nothing (arXiv 2510.06448). For a network from scratch,
missing source Dice and source cases count as 0.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.evaluation.kinds import CONTROL, METRIC
from analysis.truth.pools import SCRATCH, Pool, families_of

HINDSIGHT = "best_in_hindsight"
FACTS = ("parameters", "source_dice", "source_cases")
GROUPS = ("family", "pretrained", "family_pretrained")
CONTROLS = ("random", *FACTS, *GROUPS, "static_leaderboard", HINDSIGHT)
SCORE_COLUMNS = ("source", "target", "metric", "score", "reason", "seconds")


def control_scores(
    pools: Iterable[Pool],
    sources: pd.DataFrame,
    *,
    others: Sequence[Pool],
    generator: np.random.Generator,
    controls: Collection[str] = CONTROLS,
) -> pd.DataFrame:
    """Score the controls, as rows like those of the metrics.

    Args:
        pools: The pools to score.
        sources: Columns source, arch, length, parameters, source_dice, source_cases, and optionally family.
        others: The pools that the static leaderboard may use (it leaves out the scored target itself).
        generator: Randomness of the random control.
        controls: Those of `CONTROLS` to score.

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
        groups = group_scores(elsewhere, sources)
        everywhere = static_leaderboard([*(other for other in others if other.target != pool.target), pool])
        for source, number in zip(pool.sources, generator.random(len(pool.sources)), strict=True):
            values = {
                "random": float(number),
                **{name: known[name][source] for name in FACTS},
                **{name: values.get(source, float("nan")) for name, values in groups.items()},
                "static_leaderboard": elsewhere.get(source, float("nan")),
                HINDSIGHT: everywhere[source],
            }
            rows += [
                (source, pool.target, name, value, _why(name, value), 0.0)
                for name, value in values.items()
                if name in controls
            ]
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def with_controls(
    pools: Sequence[Pool],
    others: Sequence[Pool],
    scores: pd.DataFrame,
    sources: pd.DataFrame,
    *,
    generator: np.random.Generator,
    controls: Collection[str] = CONTROLS,
) -> pd.DataFrame:
    """The scores of metrics and controls in one frame, with the column `kind`, see `analysis.evaluation.kinds`.

    Args as in `control_scores`; `scores` are those of the metrics, with the columns `SCORE_COLUMNS`, and of short
    fine-tuning and further controls, if it has the column `kind`.
    """
    scored = control_scores(pools, sources, others=others, generator=generator, controls=controls)
    kinds = scores["kind"].fillna(METRIC) if "kind" in scores else METRIC
    given = scores[list(SCORE_COLUMNS)].assign(kind=kinds)
    frames = [frame for frame in (given, scored.assign(kind=CONTROL)) if len(frame)]
    return pd.concat(frames, ignore_index=True)


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
        if not pool.sources:
            continue  # it has no mean
        for source, dice in zip(pool.sources, pool.mean - pool.mean.mean(), strict=True):
            centred.setdefault(source, []).append(float(dice))
    return {source: sum(values) / len(values) for source, values in centred.items()}


def group_scores(elsewhere: Mapping[str, float], sources: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The scores of the controls that tell groups of sources apart.

    Args:
        elsewhere: Source -> its static leaderboard, without the target to be predicted.
        sources: Columns source, arch, length, and optionally family.

    Returns:
        Control of `GROUPS` -> source -> score; a source whose group was run on no other target is missing.
    """
    table = pd.DataFrame({"family": families_of(sources), "pretrained": _pretrained(sources)})
    table["above"] = pd.Series(elsewhere, dtype=float)
    by_family = table.groupby("family")["above"].transform("mean")
    by_both = table.groupby(["family", "pretrained"])["above"].transform("mean")
    columns = {"family": by_family, "pretrained": table["pretrained"], "family_pretrained": by_both}
    return {name: {str(source): float(value) for source, value in column.items()} for name, column in columns.items()}


def _pretrained(sources: pd.DataFrame) -> "pd.Series[float]":
    return (sources.set_index("source")["length"] != SCRATCH).astype(float)


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
    if name in FACTS:
        return f"its {name} is not recorded"
    return (
        "run on no other target" if name == "static_leaderboard" else "no source of its group was run on another target"
    )
