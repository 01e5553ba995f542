"""Paths on the command line: one that exists is taken as it is, whatever Hydra's grammar would make of its name.

Without this `path=epoch=3-step=20.ckpt`, `source="/x/nets, v2 [final]"` or `path=~/net.pt` would be read as syntax.
"""

import os
import re
from collections.abc import Iterable

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from benchmark.errors import InputError

ASSIGNMENT = re.compile(r"(?P<key>[+~]{0,2}[A-Za-z_][\w.@/:-]*)=(?P<value>.+)", re.DOTALL)
# settings whose value is a path, by the last part of their name
PATHS = {"path", "folder", "table", "estimates", "source", "task", "data_dir", "output_dir", "artifacts", "outbox",
         "dir"}  # fmt: skip
REFERENCE = "${"  # OmegaConf's interpolation, which no escape survives


def with_paths_quoted(arguments: Iterable[str]) -> list[str]:
    """Quote the values of a command line that are paths, as Hydra's grammar needs it.

    A value is a path if it exists, if it starts with `~` (the home folder), or if the setting takes a path and the
    value is not in Hydra's grammar; for any other value nothing changes.

    Raises:
        InputError: The name of an existing path cannot pass through Hydra.

    Example:
        >>> with_paths_quoted(["path=/x/epoch=3-step=20.ckpt", "threads=2", "metric=[ccfv,logme]"])
        ['path="/x/epoch=3-step=20.ckpt"', 'threads=2', 'metric=[ccfv,logme]']
    """
    return [_quoted_argument(argument) for argument in arguments]


def _quoted_argument(argument: str) -> str:
    match = ASSIGNMENT.fullmatch(argument)
    if match is None:
        return argument
    key, value = match["key"], match["value"]
    takes_path = re.split(r"[.@/]", key.lstrip("+~"))[-1] in PATHS
    path = existing_path(value)
    if path is not None and (takes_path or "/" in value or not _is_grammar(argument)):
        return f"{key}={quoted(path)}"
    if takes_path and (value.startswith("~") or not _is_grammar(argument)):
        return f"{key}={quoted(os.path.expanduser(value))}"  # noqa: PTH111 - Path.expanduser raises for an unknown user
    return argument


def existing_path(text: str) -> str | None:
    """The existing path that a text names, with `~` as the home folder if no path has that name; None without one."""
    places = dict.fromkeys([text, os.path.expanduser(text)])  # noqa: PTH111 - as above
    return next((place for place in places if exists(place)), None)


def exists(text: str) -> bool:
    """Whether a path exists, or a broken link; False for any text that cannot be a path."""
    return os.path.lexists(text)


def quoted(path: str) -> str:
    r"""A path as a quoted string of Hydra's grammar.

    Raises:
        InputError: The name has `${`.

    Example:
        >>> print(quoted('a "b" c'), quoted("a,b"))
        "a \"b\" c" "a,b"
    """
    if REFERENCE in path:
        raise InputError(f"cannot use the path {path}: {REFERENCE} in a name would be read as a reference; rename it, "
                         "or name a symbolic link to it")  # fmt: skip
    literal = f"./{path}" if path == "???" else path  # OmegaConf's missing value
    return '"' + re.sub(r'(\\*)("|$)', lambda match: match[1] * 2 + ('\\"' if match[2] else ""), literal) + '"'


def _is_grammar(argument: str) -> bool:
    try:
        OverridesParser.create().parse_override(argument)
    except HydraException:
        return False
    return True
