"""What identifies a job: the hash of its resolved settings, its inputs and the code of its stage."""

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGES = ("benchmark", "baselines", "analysis")
# settings that change no result: where data lie and how they get there, how often state is kept
NO_INPUT = {"folder", "path", "download", "limit_gib", "keep_every"}
BOOKKEEPING = ("benchmark.tracking", "benchmark.records", "benchmark.progress", "benchmark.command", "benchmark.jobs")


def job_key(stage: str, module: str, inputs: Mapping[str, Any], *, code: Iterable[str] = ()) -> str:
    """The key of a job.

    Args:
        stage: The stage's name.
        module: The stage's module; its code, and that of all it imports from this project, is part of the key.
        inputs: Resolved settings and keys or digests of inputs; the order of mappings does not matter.
        code: Further modules whose code matters, such as a metric's.

    Returns:
        64 hexadecimal digits.
    """
    content = {"stage": stage, "inputs": _inputs_only(inputs), "code": code_digest(tuple(sorted({module, *code})))}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


@cache
def code_digest(modules: tuple[str, ...]) -> str:
    """SHA-256 over the syntax trees of modules and of all they import from this project.

    Comments, docstrings and layout do not change it; what only records and shows results is left out.
    """
    seen: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in seen or any(f"{name}.".startswith(f"{one}.") for one in BOOKKEEPING):
            continue
        path = _path(name)
        if path is None:
            continue
        tree = _without_docstrings(ast.parse(path.read_text(encoding="utf-8")))
        seen[name] = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
        waiting += _imports(tree, name, is_package=path.name == "__init__.py")
    return hashlib.sha256(json.dumps(sorted(seen.items())).encode()).hexdigest()


def _inputs_only(settings: Any) -> Any:
    """Settings without those that change no result: moved data are the same data, and their digest is an input."""
    if isinstance(settings, Mapping):
        return {key: _inputs_only(value) for key, value in settings.items() if key not in NO_INPUT}
    return [_inputs_only(value) for value in settings] if isinstance(settings, list | tuple) else settings


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False):
            del node.body[0]
    return tree


def targets(settings: Any) -> list[str]:
    """The modules of every `_target_` in resolved settings, which no import statement shows."""
    if isinstance(settings, Mapping):
        own = [str(settings["_target_"]).rpartition(".")[0]] if "_target_" in settings else []
        return own + [name for value in settings.values() for name in targets(value)]
    if isinstance(settings, list | tuple):
        return [name for value in settings for name in targets(value)]
    return []


def _path(name: str) -> Path | None:
    if name.split(".", maxsplit=1)[0] not in PACKAGES:
        return None
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:  # a name inside a module, such as benchmark.errors.InputError
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None


def _imports(tree: ast.AST, name: str, *, is_package: bool) -> list[str]:
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = name.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parts, *([node.module] if node.module else [])])
            found += [base, *[f"{base}.{alias.name}" for alias in node.names]]
    return found
