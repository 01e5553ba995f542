"""Inert objects: what a pickle's object of any class becomes when the file is not trusted."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar

from torch import Tensor

from benchmark.errors import InputError

MOST_TENSORS = 100_000  # of a module; more are listed only by a file whose modules contain each other
DEEPEST = 64  # levels of modules


class Inert:
    """An object whose class was not imported: it keeps what the file has for it, and runs nothing.

    Attributes:
        kind: Dotted name of the class or function in the file.
        entries: Its items, if it is a kind of dict.
        values: Its items, if it is a kind of list or set.
        attributes: The values of its fields.
    """

    __slots__ = ("attributes", "entries", "values")
    kind: ClassVar[str] = "object"

    def __init__(self, *_: object, **__: object) -> None:
        self.entries: dict[Any, Any] = {}
        self.values: list[Any] = []
        self.attributes: dict[Any, Any] = {}

    def fill(self, state: object) -> None:
        """Keep the fields that a pickle has for the object: a dict, or a pair of dicts if it has slots."""
        for part in state if isinstance(state, tuple) and len(state) == 2 else (state,):
            if isinstance(part, Mapping):
                self.attributes |= part

    def __repr__(self) -> str:
        """The kind; nothing of its content."""
        return f"<{self.kind}, left out>"


def inert_class(kind: str) -> type[Inert]:
    """The class of the inert objects of a kind."""
    return type("Inert", (Inert,), {"__slots__": (), "kind": kind})


def mapping_of(value: object) -> Mapping[Any, Any] | None:
    """A mapping as it is; the state dict of an inert module; the entries or fields of another inert object.

    Raises:
        InputError: A module has more tensors than any network.
    """
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, Inert):
        return None
    return module_state(value) if is_module(value) else value.entries or value.attributes or None


def is_module(value: object) -> bool:
    """Whether an inert object has the fields of a torch module."""
    return isinstance(value, Inert) and all(
        isinstance(value.attributes.get(name), Mapping) for name in ("_parameters", "_buffers", "_modules")
    )


def module_state(module: Inert) -> dict[str, Tensor]:
    """The tensors of an inert module under the names that its state dict would have.

    Raises:
        InputError: There are more than any network has.
    """
    tensors = dict(islice(_tensors(module, "", 0), MOST_TENSORS + 1))
    if len(tensors) > MOST_TENSORS:
        raise InputError(f"a module of class {module.kind} has more than {MOST_TENSORS:,} tensors")
    return tensors


def _tensors(module: Inert, prefix: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    if depth > DEEPEST:
        raise InputError(f"a module of class {module.kind} has more than {DEEPEST} levels of modules")
    fields = module.attributes
    idle = fields.get("_non_persistent_buffers_set")
    for kind in ("_parameters", "_buffers"):
        for name, value in fields[kind].items():
            if isinstance(value, Tensor) and not (kind == "_buffers" and isinstance(idle, set) and name in idle):
                yield f"{prefix}{name}", value
    for name, inner in fields["_modules"].items():
        if is_module(inner):
            yield from _tensors(inner, f"{prefix}{name}.", depth + 1)


def kinds_in(content: object, deepest: int = 3) -> list[str]:
    """The kinds of the inert objects near the surface of a file's content, in order, each once."""
    if isinstance(content, Inert):
        return [content.kind]
    if deepest == 0 or not isinstance(content, Mapping):
        return []
    return list(dict.fromkeys(kind for value in content.values() for kind in kinds_in(value, deepest - 1)))
