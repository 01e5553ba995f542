"""Names for the sources of a pool: as short as possible, and distinct."""

from collections import Counter
from collections.abc import Collection, Sequence


def distinct_names(choices: Sequence[Sequence[str]], *, taken: Collection[str] = ()) -> list[str]:
    """Choose distinct names.

    Items with the same shortest name get longer names together, step by step, until they differ from each other and
    from all other names. The order of `choices` does not matter.

    Args:
        choices: For each item, its possible names, from short to long.
        taken: Names that are not available.

    Returns:
        The names, in the order of `choices`.

    Example:
        >>> distinct_names([["unet", "unet.pt"], ["unet", "unet.pth"], ["best", "best.pt"]])
        ['unet.pt', 'unet.pth', 'best']
        >>> distinct_names([["scratch", "scratch.pt"]], taken={"scratch"})
        ['scratch.pt']
    """
    steps = {names[0]: 0 for names in choices}
    for _ in range(max(map(len, choices), default=0)):
        chosen = [_at(names, steps[names[0]]) for names in choices]
        counts = Counter(chosen) + Counter(taken)
        clashing = {names[0] for names, name in zip(choices, chosen, strict=True) if counts[name] > 1}
        if not clashing:
            return chosen
        for name in clashing:
            steps[name] += 1
    return _numbered([_at(names, steps[names[0]]) for names in choices], taken)


def _at(names: Sequence[str], step: int) -> str:
    return names[min(step, len(names) - 1)]


def _numbered(names: Sequence[str], taken: Collection[str]) -> list[str]:
    """Number the names that are equal even in full length."""
    numbered: list[str] = []
    for name in names:
        number, own = 1, name
        while own in numbered or own in taken:
            number += 1
            own = f"{name} ({number})"
        numbered.append(own)
    return numbered
