"""Numbers as text: the formats of all tables, tiles and sentences, and of JSON."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

UNDEFINED = "–"  # noqa: RUF001 -- an en dash, not a minus


def number(value: float, *, digits: int = 2, sign: str = "") -> str:
    """Format a number with fixed digits after the decimal point, with `sign="+"` also of a gain; a dash if it is NaN.

    Example:
        >>> number(0.5), number(3.14159, digits=1), number(0.5, sign="+"), number(-0.001)
        ('0.50', '3.1', '+0.50', '0.00')
    """
    return UNDEFINED if np.isnan(value) else f"{round(value, digits) + 0.0:{sign}.{digits}f}"  # + 0.0: no minus zero


def significant(value: float) -> str:
    """Format a score of any scale with three significant digits."""
    return "NaN" if math.isnan(value) else f"{value:.3g}"


def percent(value: float, *, digits: int = 0) -> str:
    """Format a share as a percentage, whole by default; a dash if it is NaN."""
    return UNDEFINED if np.isnan(value) else f"{value:.{digits}%}"


def p_value(value: float) -> str:
    """Format a p-value with three digits."""
    return "<0.001" if value < 0.001 else number(value, digits=3)


def p_text(value: float) -> str:
    """A p-value in a sentence.

    Example:
        >>> p_text(0.0004), p_text(0.04)
        ('p < 0.001', 'p = 0.040')
    """
    return f"p {p_value(value).replace('<', '< ')}" if value < 0.001 else f"p = {p_value(value)}"


def plain(value: object) -> str:
    """Format any value: whole numbers without digits, other numbers with two, all else as it is."""
    if isinstance(value, float | np.floating):
        return number(float(value), digits=0 if float(value).is_integer() else 2)
    return str(value)


def with_interval(row: Mapping[Any, Any], name: str, form: Callable[[float], str] = number) -> str:
    """Format a value and its interval, the fields `name`, `name_low` and `name_high` of a row.

    Example:
        >>> with_interval({"tau": 0.5, "tau_low": 0.25, "tau_high": 0.75}, "tau")
        '0.50 [0.25, 0.75]'
    """
    low, high = float(row[f"{name}_low"]), float(row[f"{name}_high"])
    interval = "" if np.isnan([low, high]).any() else f" [{form(low)}, {form(high)}]"
    return form(float(row[name])) + interval


def counted(count: int, noun: str) -> str:
    """Join a count and its noun, in the plural if needed.

    Example:
        >>> counted(1, "case"), counted(4, "case")
        ('1 case', '4 cases')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def duration(seconds: float) -> str:
    """Format a duration in seconds for readers.

    Example:
        >>> duration(75.0), duration(7200.0), duration(200000.0), duration(float("nan"))
        ('1 min 15 s', '2.0 h', '2.3 days', 'not known')
    """
    if math.isnan(seconds):
        return "not known"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def memory_size(nbytes: float) -> str:
    """Format a number of bytes for readers.

    Example:
        >>> memory_size(1000), memory_size(5 * 2**20), memory_size(3 * 2**30)
        ('less than 1 MiB', '5 MiB', '3.0 GiB')
    """
    if nbytes < 2**20:
        return "less than 1 MiB"
    return f"{nbytes / 2**30:.1f} GiB" if nbytes >= 2**30 else f"{nbytes / 2**20:.0f} MiB"


def strict_json(value: object) -> object:
    """The value with None for numbers that are not finite, at all levels, since JSON has none of them."""
    if isinstance(value, Mapping):
        return {str(key): strict_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [strict_json(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)) else value
