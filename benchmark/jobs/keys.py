"""Job keys: hashes of the resolved settings, the inputs and the code of a stage."""

import ast
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.util import find_spec, resolve_name
from pathlib import Path
from typing import TypeVar

from benchmark.storage.digest import text_digest, value_digest

PACKAGES = ("benchmark", "baselines", "analysis")
# settings that change no result: where data are and how they are fetched, how often state is saved, how many work
NO_INPUT = {"folder", "path", "download", "limit_gib", "keep_every", "processes"}
Documented = TypeVar("Documented", ast.Module, ast.ClassDef, ast.FunctionDef)
STORED = "SkipPair"  # an exception whose message is stored as the reason of a result
LOGS = ("log.", "logger.", "logging.", "warnings.warn")
BOOKKEEPING = (
    "benchmark.tracking",
    "benchmark.tracking.records",
    "benchmark.jobs.progress",
    "benchmark.jobs.cli",
    "benchmark.jobs.keys",
)
MEMORY = ("benchmark.storage.digest_memory", "remembered")  # remembers values that it does not change


def job_key(stage: str, module: str, inputs: Mapping[str, object], *, code: Iterable[str] = ()) -> str:
    """Compute the key of a job.

    Args:
        stage: The stage's name.
        module: The stage's module; its code and the code that it imports from this project are part of the key.
        inputs: Resolved settings, and keys or digests of inputs; the order of mappings does not matter.
        code: Other modules whose code affects the result, such as a metric's.

    Returns:
        64 hexadecimal digits.
    """
    content = {"stage": stage, "inputs": _inputs_only(inputs), "code": code_digest(tuple(sorted({module, *code})))}
    return value_digest(content)


@cache
def code_digest(modules: tuple[str, ...]) -> str:
    """SHA-256 over the syntax trees of modules and of their imports from this project.

    Comments, layout and wording do not change it: docstrings and the arguments of `raise` and of log calls are left
    out, and so are modules that only record, show or remember results. The reason of a skipped pair is a result and is
    included.
    """
    seen: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in seen or any(f"{name}.".startswith(f"{other}.") for other in BOOKKEEPING):
            continue
        digest, imported = _module(name)
        if digest:
            seen[name] = digest
            waiting += imported
    return value_digest(sorted(seen.items()))


@cache
def _module(name: str) -> tuple[str, tuple[str, ...]]:
    """The digest of a module's code and the names that it imports; ("", ()) if it is no module of this project."""
    path = _path(name)
    if path is None:
        return "", ()
    tree = _Unworded().visit(ast.parse(path.read_text(encoding="utf-8")))
    return text_digest(ast.dump(tree)), tuple(_imports(tree, name, is_package=path.name == "__init__.py"))


def _inputs_only(settings: object) -> object:
    """Drop settings that change no result: moved data keep their digest, which is an input."""
    if isinstance(settings, Mapping):
        return {key: _inputs_only(value) for key, value in settings.items() if key not in NO_INPUT}
    return [_inputs_only(value) for value in settings] if isinstance(settings, list | tuple) else settings


class _Unworded(ast.NodeTransformer):
    """Removes text that is only shown to people and never stored in a result, and the memory around a function."""

    def visit_Module(self, node: Documented) -> Documented:
        if ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
        self.generic_visit(node)
        return node

    visit_ClassDef = visit_Module  # noqa: N815 - the names are those of NodeTransformer

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.visit_Module(node)
        read = {name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Load)}
        for inner in ast.walk(node):
            for field in ("body", "orelse", "finalbody"):
                if isinstance(block := getattr(inner, field, None), list):
                    setattr(inner, field, [line for line in block if not _unread_text(line, read)])
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        if isinstance(node.exc, ast.Call) and not ast.unparse(node.exc.func).endswith(STORED):
            node.exc.args, node.exc.keywords = [], []
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.Expr:
        if isinstance(node.value, ast.Call) and ast.unparse(node.value.func).startswith(LOGS):
            node.value.args, node.value.keywords = [], []
        self.generic_visit(node)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        return None if node.module == MEMORY[0] else node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        return node.args[0] if isinstance(node.func, ast.Name) and node.func.id == MEMORY[1] else node


def _unread_text(line: ast.stmt, read: set[str]) -> bool:
    """Whether a statement only assigns a text that nothing reads after error messages are removed."""
    if not isinstance(line, ast.Assign) or not isinstance(line.targets[0], ast.Name):
        return False
    value = line.value
    is_text = isinstance(value, ast.JoinedStr) or (isinstance(value, ast.Constant) and isinstance(value.value, str))
    return is_text and line.targets[0].id not in read


def targets(settings: object) -> list[str]:
    """Modules of every `_target_` in resolved settings, which no import statement names."""
    if isinstance(settings, Mapping):
        own = [str(settings["_target_"]).rpartition(".")[0]] if "_target_" in settings else []
        return own + [name for value in settings.values() for name in targets(value)]
    return [name for value in settings for name in targets(value)] if isinstance(settings, list | tuple) else []


def _path(name: str) -> Path | None:
    if name.split(".", maxsplit=1)[0] not in PACKAGES:
        return None
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:  # a name inside a module, such as benchmark.errors.InputError
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None


def _imports(tree: ast.AST, name: str, *, is_package: bool) -> list[str]:
    names: list[str] = []
    package = name if is_package else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            names += [base, *[f"{base}.{alias.name}" for alias in node.names]]
    return names
