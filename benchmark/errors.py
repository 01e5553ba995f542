"""Errors that the user can fix, reported in one line, and the check of numbers that many settings share."""

import math
from collections.abc import Sequence
from typing import TypeGuard

INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it
LONGEST = 500  # characters of another library's message


class InputError(ValueError):
    """Bad input: the message names the file or field, the rule and the value in one line.

    The command line prints the message without a traceback and exits with code 2. A message that ends in another
    error's text, where this text is empty, ends in the other error's class name.
    """

    def __str__(self) -> str:
        return _with_reason(super().__str__(), self)


class SkipPair(Exception):  # noqa: N818 - a skip is an outcome, not an error
    """A source and a target that cannot be paired; the message is the reason shown in the table."""


class CaseError(InputError):
    """The files of a case cannot be read, whatever network was to see them; the message names the file."""


class WriteError(InputError):
    """A file of our own cannot be written, such as on a full disk."""


class TimeLimitError(InputError):
    """A job took longer than `time_limit` allows."""


class NotStartedError(InputError):
    """A job was not started, because another one failed and `fail_fast` was asked for."""


def is_number(value: object) -> TypeGuard[float]:
    """Whether a setting is a finite number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: object, *, least: float = -math.inf) -> TypeGuard[int]:
    """Whether a setting is a whole number of at least `least`; true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def check_whole(name: str, value: object, *, least: int, optional: bool = False) -> None:
    """Check a setting that must be a whole number of at least `least`, or may be null, too, if it is optional.

    Raises:
        InputError: It is anything else.
    """
    if not is_whole(value, least=least) and not (optional and value is None):
        or_null = " or null" if optional else ""
        raise InputError(f"{name} must be a whole number of at least {least}{or_null}, got {value}")


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are."""
    return (", ".join(names[:most]) or "none") + (f" and {len(names) - most} more" if len(names) > most else "")


def one_line(error: BaseException, *, longest: int | None = LONGEST) -> str:
    r"""Message of an error on one line: whole if it is our own, else at most `longest` characters of it.

    Example:
        >>> one_line(RuntimeError("Error in UNet:\n  missing a.weight\n  missing b.weight"))
        'Error in UNet: missing a.weight; missing b.weight'
        >>> one_line(AssertionError()), one_line(ValueError("not read: "))
        ('AssertionError', 'not read: ValueError')
    """
    parts = [" ".join(part.split()) for part in str(error).splitlines() if part.strip()]
    line = "".join(f"{part} " if part.endswith(":") else f"{part}; " for part in parts).removesuffix("; ")
    line = line[: None if isinstance(error, InputError | SkipPair) else longest]
    return _with_reason(line, error) if line else type(error).__name__


def with_class(error: BaseException) -> str:
    """Class and message of an error on one line; the class only, if there is no message.

    Example:
        >>> with_class(TypeError("no number")), with_class(AssertionError())
        ('TypeError: no number', 'AssertionError')
    """
    name = type(error).__name__
    return name if (line := one_line(error)) == name else f"{name}: {line}"


def _with_reason(line: str, error: BaseException) -> str:
    """The line, completed by the class of the error's cause if it ends where a reason should follow."""
    whole = line.rstrip()
    if not whole.endswith(":"):
        return line
    if whole.endswith(("Error:", "Exception:")):  # the class is already named, and its message is empty
        return whole.removesuffix(":")
    return f"{whole} {type(error.__cause__ or error).__name__}"
