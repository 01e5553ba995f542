"""Names for the sources of a pool: as short as they can be while no two are equal."""

from collections import Counter
from collections.abc import Collection, Sequence


def distinct_names(choices: Sequence[Sequence[str]], *, taken: Collection[str] = ()) -> list[str]:
    """One name for each of several things, all different.

    Whatever has the same shortest name grows together, one step at a time, until all of them differ from each other and
    from everything else. The order of `choices` does not matter.

    Args:
        choices: For each, the names that it may have, from short to long.
        taken: Names that none of them may have.

    Returns:
        Their names, in the order of `choices`.

    Example:
        >>> distinct_names([["unet", "unet.pt"], ["unet", "unet.pth"], ["best", "best.pt"]])
        ['unet.pt', 'unet.pth', 'best']
        >>> distinct_names([["scratch", "scratch.pt"]], taken={"scratch"})
        ['scratch.pt']
    """
    steps = {names[0]: 0 for names in choices}
    for _ in range(max(map(len, choices), default=0)):
        found = [_at(names, steps[names[0]]) for names in choices]
        counts = Counter(found) + Counter(taken)
        clashing = {names[0] for names, name in zip(choices, found, strict=True) if counts[name] > 1}
        if not clashing:
            return found
        for name in clashing:
            steps[name] += 1
    return _numbered([_at(names, steps[names[0]]) for names in choices], taken)


def _at(names: Sequence[str], step: int) -> str:
    return names[min(step, len(names) - 1)]


def _numbered(names: Sequence[str], taken: Collection[str]) -> list[str]:
    """What is still equal in full gets a number."""
    found: list[str] = []
    for name in names:
        number, own = 1, name
        while own in found or own in taken:
            number += 1
            own = f"{name} ({number})"
        found.append(own)
    return found
