"""Splits of labelled cases into training and test cases, by seed or by nnU-Net's folds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmark.errors import InputError, check_whole
from benchmark.storage.files import read_json

Parted = tuple[list[str], list[str]]  # the names of the training and of the test cases


def seeded_split(names: Sequence[str], *, test_share: float, labelled: int | None, seed: int) -> Parted:
    """Disjoint training and test cases, independent of the order of `names`.

    Args:
        names: The labelled cases.
        test_share: Share of the cases for testing, in [0, 1); at least one case, unless it is 0.
        labelled: Largest number of training cases; None: all. A smaller number gives a subset of a larger one's.
        seed: Seed of the shuffle.

    Raises:
        InputError: A setting breaks its rule, or no case is left to train on.

    Example:
        >>> seeded_split(["a", "b", "c", "d"], test_share=0.25, labelled=2, seed=0)
        (['a', 'b'], ['c'])
    """
    if not 0 <= test_share < 1:
        raise InputError(f"test_share must be in [0, 1), got {test_share}")
    if labelled is not None and labelled < 1:
        raise InputError(f"labelled must be a positive number of cases, got {labelled}")
    drawn = [sorted(names)[place] for place in np.random.default_rng(seed).permutation(len(names))]
    held_out = max(1, round(test_share * len(drawn))) if test_share else 0
    if len(drawn) <= held_out:
        few = "1 labelled case is too few: it is" if len(drawn) == 1 else (
            f"{len(drawn)} labelled cases are too few: all are")  # fmt: skip
        raise InputError(f"{few} held out for testing and none is left for training; "
                         "test_share=0 leaves out the test cases")  # fmt: skip
    return sorted(drawn[held_out:][:labelled]), sorted(drawn[:held_out])


def fold_split(path: Path, fold: int, names: Sequence[str]) -> Parted:
    """The training cases of a fold of nnU-Net's splits_final.json, and its validation cases as test cases.

    Raises:
        InputError: The file is missing or malformed, names an unknown case or a case twice, or lacks the fold, or the
            fold has no training or no validation case.
    """
    check_whole("fold", fold, least=0)
    folds = read_json(path, hint=f"; fold={fold} needs it")
    try:
        train, test = ([str(name) for name in folds[fold][part]] for part in ("train", "val"))
    except (KeyError, IndexError, TypeError) as error:
        raise InputError(f"{path} must list folds with train and val, and have fold {fold}, got: {error}") from error
    if unknown := sorted({*train, *test} - set(names)):
        raise InputError(f"{path}: {unknown[0]} is not a labelled case")
    if twice := [name for name in train + test if (train + test).count(name) > 1]:
        raise InputError(f"{path}: fold {fold} lists {twice[0]} more than once")
    if empty := [part for part, cases in (("train", train), ("val", test)) if not cases]:
        raise InputError(f"{path}: {empty[0]} of fold {fold} lists no case")
    return train, test
