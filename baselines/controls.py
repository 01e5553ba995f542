"""Controls: what an estimate must beat to have shown anything. None looks at the target's images.

    random              one number a source
    parameters          how many weights the source has
    source Dice         how well the source does on its own task
    source cases        how many cases it was trained on
    static leaderboard  for a source and a target, the mean over the OTHER targets on which that source was run of
                        (Dice - that target's pool mean), centred since each source lacks its own task

Higher is better. Reference for the static leaderboard: "How NOT to benchmark your SITE metric: Beyond Static
Leaderboards and Towards Realistic Evaluation", ICLR 2026, arXiv 2510.06448.
"""

import numpy as np
import pandas as pd


def random_score(generator: np.random.Generator) -> float:
    """A number in [0, 1) that knows nothing.

    Args:
        generator: where it comes from.

    Returns:
        The score.

    Example:
        >>> 0 <= random_score(np.random.default_rng(0)) < 1
        True
    """
    return float(generator.random())


def parameters_score(parameters: float) -> float:
    """The number of weights of a source.

    Args:
        parameters: a positive count.

    Returns:
        The same as a score; NaN stays NaN.

    Raises:
        ValueError: if it is negative.
    """
    return _fact(parameters, "parameters")


def source_dice_score(source_dice: float) -> float:
    """A source's Dice on its own task.

    Args:
        source_dice: in [0, 1]; NaN where the source was not pre-trained.

    Returns:
        The same as a score.

    Raises:
        ValueError: if it is not in [0, 1].
    """
    if source_dice > 1:
        raise ValueError(f"`source_dice` must lie in [0, 1], got {source_dice}")
    return _fact(source_dice, "source_dice")


def source_cases_score(source_cases: float) -> float:
    """How many cases a source was pre-trained on.

    Args:
        source_cases: a count.

    Returns:
        The same as a score.

    Raises:
        ValueError: if it is negative.
    """
    return _fact(source_cases, "source_cases")


def static_leaderboard(truth: pd.DataFrame) -> pd.DataFrame:
    """How much better than its pool each source was on the other targets.

    Args:
        truth: columns source, target, dice; several rows of one pair (seeds) are averaged.

    Returns:
        Columns source, target, score, one row a pair of `truth`; NaN where a source was run on no other target.

    Raises:
        ValueError: if a column is missing.

    Example:
        >>> truth = pd.DataFrame({"source": list("abab"), "target": list("uuvv"), "dice": [0.5, 0.7, 0.2, 0.2]})
        >>> static_leaderboard(truth)["score"].round(2).tolist()
        [0.0, 0.0, -0.1, 0.1]
    """
    if missing := sorted({"source", "target", "dice"} - set(truth.columns)):
        raise ValueError(f"`truth` must have the columns source, target, dice, lacks {', '.join(missing)}")
    pairs = truth.groupby(["source", "target"], as_index=False, sort=False)["dice"].mean()
    centred = pairs["dice"] - pairs.groupby("target")["dice"].transform("mean")
    total = centred.groupby(pairs["source"]).transform("sum")
    others = centred.groupby(pairs["source"]).transform("count") - 1
    score = ((total - centred) / others).where(others > 0)
    return pd.DataFrame({"source": pairs["source"], "target": pairs["target"], "score": score})


def _fact(value: float, name: str) -> float:
    if value < 0:
        raise ValueError(f"`{name}` must not be negative, got {value}")
    return float(value)
