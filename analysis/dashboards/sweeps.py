"""Find the runs of sweeps: runs of the same source, target, seed and metric that differ in a setting.

A setting is a param with a dot in its name, such as `stream.overlap` or `trainer.tune`; every job logs its settings.
"""

from collections.abc import Iterable, Mapping, Sequence

from benchmark.tracking.records import Row

ABOUT = ("task", "source", "target", "seed", "metric")
STAGES = ("pretrain", "truth", "score", "agreement")


def shared(rows: Iterable[Row]) -> dict[str, str]:
    """The settings that have the same value in all rows that have them.

    Args:
        rows: Finished jobs.

    Returns:
        Setting -> value.

    Example:
        >>> rows = [Row("score", str(n), "", {"stream.overlap": "0.25", "metric.ccfv.seed": str(n)}) for n in (0, 1)]
        >>> shared(rows)
        {'stream.overlap': '0.25'}
    """
    return {name: next(iter(values)) for name, values in _values(rows).items() if len(values) == 1}


def swept(rows: Iterable[Row]) -> dict[str, tuple[str, ...]]:
    """Find the runs that belong to a sweep.

    Args:
        rows: Finished jobs of any stage.

    Returns:
        Run -> the settings in which it differs from runs of its stage with the same task, source, target, seed and
        metric.

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
    """Group the rows by sweep.

    Args:
        rows: Finished jobs.
        found: The result of `swept`.

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
