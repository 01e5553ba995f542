"""Transferability estimates other than CC-FV, one per file: functions of arrays and statistics, and a metric class.

Public names are imported lazily from the file that defines them, so a new file needs no registration.
"""

import ast
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any


@cache
def _homes() -> dict[str, str]:
    """Map each public name to the module that defines it."""
    return {
        node.name: f"{__name__}.{path.stem}"
        for path in sorted(Path(__file__).parent.glob("[!_]*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
    }


def __getattr__(name: str) -> Any:
    if name not in _homes():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_homes()[name]), name)


def __dir__() -> list[str]:
    return sorted(_homes())
