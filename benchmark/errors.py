"""Errors that the user can fix, reported in one line."""

INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it
LONGEST = 500  # characters of another library's message


class InputError(ValueError):
    """Bad input: the message names the file or field, the rule and the value in one line.

    The command line prints the message without a traceback and exits with code 2.
    """


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


def one_line(error: BaseException, *, longest: int | None = LONGEST) -> str:
    """Message of an error on one line: whole if it is our own, else at most `longest` characters of it."""
    line = "; ".join(" ".join(part.split()) for part in str(error).splitlines() if part.strip())
    return line[: None if isinstance(error, InputError | SkipPair) else longest] or type(error).__name__
