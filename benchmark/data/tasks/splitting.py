"""Split labelled cases into training and test cases."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmark.errors import InputError

Split = dict[str, list[str]]


def seeded_split(names: Sequence[str], *, test_share: float, labelled: int | None, seed: int) -> Split:
    """Disjoint splits `train` and `test`, independent of the order of `names`.

    Args:
        names: The labelled cases.
        test_share: Share of the cases for testing, in [0, 1); at least one case, unless it is 0.
        labelled: Largest number of cases in `train`; None: all. A smaller number gives a subset of a larger one's.
        seed: Seed of the shuffle.

    Raises:
        InputError: A setting breaks its rule, or no case is left to train on.

    Example:
        >>> seeded_split(["a", "b", "c", "d"], test_share=0.25, labelled=2, seed=0)
        {'train': ['a', 'b'], 'test': ['c']}
    """
    if not 0 <= test_share < 1:
        raise InputError(f"test_share must be in [0, 1), got {test_share}")
    if labelled is not None and labelled < 1:
        raise InputError(f"labelled must be a positive number of cases, got {labelled}")
    drawn = [sorted(names)[place] for place in np.random.default_rng(seed).permutation(len(names))]
    held_out = max(1, round(test_share * len(drawn))) if test_share else 0
    if len(drawn) <= held_out:
        few = "1 labelled case is" if len(drawn) == 1 else f"{len(drawn)} labelled cases are"
        used = "it is" if len(drawn) == 1 else "all are"
        raise InputError(f"{few} too few: {used} held out for testing and none is left for training; "
                         "test_share=0 leaves out the test cases")  # fmt: skip
    return {"train": sorted(drawn[held_out:][:labelled]), "test": sorted(drawn[:held_out])}


def fold_split(path: Path, fold: int, names: Sequence[str]) -> Split:
    """The splits of a fold of nnU-Net's splits_final.json: `train`, and its `val` as `test`.

    Raises:
        InputError: The file is missing or malformed, names an unknown case or a case twice, or lacks the fold.
    """
    try:
        folds = json.loads(path.read_text(encoding="utf-8"))
        chosen = folds[fold]
        split = {"train": [str(name) for name in chosen["train"]], "test": [str(name) for name in chosen["val"]]}
    except FileNotFoundError:
        raise InputError(f"{path} not found; fold={fold} needs it") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path} as UTF-8 JSON: {error}") from error
    except (KeyError, IndexError, TypeError) as error:
        raise InputError(f"{path} must list folds with train and val, and have fold {fold}, got: {error}") from error
    listed = split["train"] + split["test"]
    if unknown := sorted(set(listed) - set(names)):
        raise InputError(f"{path}: {unknown[0]} is not a labelled case")
    if twice := [name for name in listed if listed.count(name) > 1]:
        raise InputError(f"{path}: fold {fold} lists {twice[0]} more than once")
    return split
