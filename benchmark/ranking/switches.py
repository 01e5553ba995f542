"""Settings of `rank`, `race` and `inspect` that are either true or false."""

from collections.abc import Mapping

from benchmark.errors import InputError


def check_switches(values: Mapping[str, object]) -> None:
    """Check such settings, so that a misspelt `false` does not count as true.

    Args:
        values: Name -> value.

    Raises:
        InputError: A value is neither true nor false.
    """
    for name, value in values.items():
        if not isinstance(value, bool):
            raise InputError(f"{name} must be true or false, got {value}")
