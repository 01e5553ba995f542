"""Which runs a sweep has set apart: alike in what they are about, different in a setting.

A setting is a param with a dot in its name, such as `stream.overlap` or `trainer.tune`; every job writes its own.
"""

from collections.abc import Iterable, Mapping, Sequence

from benchmark.tracking.records import Row

ABOUT = ("task", "source", "target", "seed", "metric")
STAGES = ("pretrain", "truth", "score", "agreement")


def shared(rows: Iterable[Row]) -> dict[str, str]:
    """The settings that have one value in all rows that have them.

    Args:
        rows: The jobs that a figure rests on.

    Returns:
        Setting -> value.

    Example:
        >>> rows = [Row("score", str(n), "", {"stream.overlap": "0.25", "metric.ccfv.seed": str(n)}) for n in (0, 1)]
        >>> shared(rows)
        {'stream.overlap': '0.25'}
    """
    return {name: next(iter(values)) for name, values in _values(rows).items() if len(values) == 1}


def swept(rows: Iterable[Row]) -> dict[str, tuple[str, ...]]:
    """The runs that belong to a sweep.

    Args:
        rows: Finished jobs of any stage.

    Returns:
        Run -> the settings in which it differs from others of its stage that are about the same.

    Example:
        >>> about = {"source": "liver_long", "target": "spleen"}
        >>> rows = [Row("score", n, "", about | {"stream.overlap": n}, run=n) for n in ("0", "0.25")]
        >>> swept([*rows, Row("score", "b", "", {"source": "scratch", "stream.overlap": "0.25"}, run="other")])
        {'0': ('stream.overlap',), '0.25': ('stream.overlap',)}
    """
    groups: dict[tuple[str | None, ...], list[Row]] = {}
    for row in rows:
        if row.stage in STAGES:
            groups.setdefault((row.stage, *(row.params.get(name) for name in ABOUT)), []).append(row)
    found = {}
    for group in groups.values():
        different = [name for name, values in _values(group).items() if len(values) > 1]
        for row in group:
            if mine := tuple(name for name in different if name in row.params):
                found[row.run] = mine
    return found


def by_setting(rows: Sequence[Row], found: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], list[Row]]:
    """The rows of each sweep.

    Args:
        rows: Finished jobs.
        found: From `swept`.

    Returns:
        (stage, setting) -> the rows that differ in it.
    """
    sweeps: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        for name in found.get(row.run, ()):
            sweeps.setdefault((row.stage, name), []).append(row)
    return sweeps


def _values(rows: Iterable[Row]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in rows:
        for name, value in row.params.items():
            if "." in name:
                found.setdefault(name, set()).add(value)
    return found
