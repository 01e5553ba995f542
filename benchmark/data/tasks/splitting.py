"""Which labelled cases are tuned on and which are tested on, where a data set does not say."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmark.errors import InputError

Split = dict[str, list[str]]


def seeded_split(names: Sequence[str], *, test_share: float, labelled: int | None, seed: int) -> Split:
    """Disjoint splits `train` and `test`, the same whatever the order of `names`.

    Args:
        names: The labelled cases.
        test_share: Share of them that is tested on, in [0, 1); at least one case, unless it is 0.
        labelled: Most cases in `train`; None: all that are left. Fewer are a subset of more.
        seed: Of the drawing.

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
        raise InputError(
            f"a task must have a labelled case to train on beside {held_out} to test on, got {len(drawn)}; "
            "test_share=0 tests on none"
        )
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
        raise InputError(f"{path} must exist for fold={fold}, got none") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} must be UTF-8 JSON, got: {error}") from error
    except (KeyError, IndexError, TypeError) as error:
        raise InputError(f"{path} must list folds with train and val, and have fold {fold}, got: {error}") from error
    listed = split["train"] + split["test"]
    if unknown := sorted(set(listed) - set(names)):
        raise InputError(f"{path} must name labelled cases, got {unknown[0]}")
    if twice := [name for name in listed if listed.count(name) > 1]:
        raise InputError(f"{path} must name each case of a fold once, got {twice[0]}")
    return split
