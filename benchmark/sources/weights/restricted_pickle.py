"""Read a file of torch.save that has objects: tensors and plain values are read, every other object becomes inert.

A pickle is a program: it names functions and classes, and calls them. This reader calls only torch's functions that
rebuild tensors (the list of `torch.load(weights_only=True)`) and those of `plain_values`; a call of anything else, and
an object of any other class, gives an `Inert`, whose class and code are never imported. State is set only on objects
that the file itself made, never on a class or a function.
"""

import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from argparse import Namespace
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch._weights_only_unpickler import _get_allowed_globals, _tensor_rebuild_functions

from benchmark.sources.weights.inert import Inert, inert_class
from benchmark.sources.weights.plain_values import VALUES, DType, PlainArray

TYPES = ("bool", "bytes", "dict", "float", "int", "list", "object", "str", "tuple", "type")  # named as values
QUIET = ("typing.", "copyreg.", "types.", *(f"builtins.{name}" for name in TYPES))
DICTS = (dict, OrderedDict, Counter)


@dataclass(frozen=True)
class FileContent:
    """What a file contains.

    Attributes:
        content: Its object, with an `Inert` for every object that was left out.
        left_out: Dotted names of the classes and functions that were left out.
    """

    content: Any
    left_out: tuple[str, ...] = ()


def read_restricted(path: Path) -> FileContent:
    """Read a file that torch.save wrote, in its zip format or the one before.

    Args:
        path: A file that `torch.load(weights_only=True)` refuses by a pickle.UnpicklingError: it also refuses, by
            others, archives with programs and the oldest files, which are not to be handed to torch without it.

    Raises:
        Exception: Of any kind, if the file is corrupt; UnpicklingError if it uses pickles as torch.save does not.
    """
    classes: dict[str, type[Inert]] = {}

    class FileUnpickler(RestrictedUnpickler):
        known = classes

    def load(stream: Any, **settings: Any) -> Any:
        return FileUnpickler(stream, **settings).load()

    module = SimpleNamespace(Unpickler=FileUnpickler, load=load, __name__=__name__)
    content = torch.load(path, map_location="cpu", pickle_module=module, weights_only=False)
    return FileContent(content, tuple(name for name in classes if not name.startswith(QUIET) or _is_builtin(name)))


def _is_builtin(name: str) -> bool:
    """Whether a name is that of a function such as eval, rather than of a type such as dict."""
    return name.startswith("builtins.") and name.partition(".")[2] not in TYPES


def _tensor_of_type(build: object, _: object, args: tuple[Any, ...], __: object = None) -> Tensor:
    """A tensor of a subclass, such as MONAI's MetaTensor, as a plain tensor."""
    if build not in _tensor_rebuild_functions():  # type: ignore[no-untyped-call]
        raise pickle.UnpicklingError("a tensor of a subclass must be rebuilt by torch")
    tensor: Tensor = build(*args)  # type: ignore[operator]  # one of torch's functions
    return tensor


def _table() -> dict[str, Any]:
    return {**_get_allowed_globals(), **VALUES, "torch._tensor._rebuild_from_type_v2": _tensor_of_type}


class RestrictedUnpickler(pickle._Unpickler):
    """An unpickler with a closed list of what can be called; Python's own, since every step of it can be replaced."""

    known: ClassVar[dict[str, type[Inert]]] = {}
    proto: int = 0
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: Any, **settings: Any) -> None:
        super().__init__(file, **settings)
        self._table = _table()
        self._callable = {id(value): name for name, value in self._table.items()}

    def find_class(self, module: str, name: str) -> Any:
        """What rebuilds a value, or an inert class; nothing is imported."""
        if self.proto < 3:  # whose names are those of Python 2
            module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        full = f"{module}.{name}"
        if full in self._table:
            return self._table[full]
        return self._inert(full)

    def _inert(self, full: str) -> type[Inert]:
        return self.known.setdefault(full, inert_class(full))

    def get_extension(self, code: int) -> None:
        """Refuse numbers in place of names: what they mean depends on the process, not on the file."""
        raise pickle.UnpicklingError(f"it names a class by the number {code}")

    def _instantiate(self, klass: Any, args: Any) -> None:
        self.append(self._called(klass, tuple(args)))

    def _called(self, function: Any, args: Any, settings: Any = None) -> Any:
        """The result of a call: real if it is in the table, else inert."""
        if isinstance(function, type) and issubclass(function, Inert):
            return self._created(function, args)
        if isinstance(function, Inert):
            return type(function)()
        if id(function) not in self._callable or not isinstance(args, tuple):
            raise pickle.UnpicklingError(f"it calls an object of {type(function).__name__}")
        try:
            return function(*args, **(settings or {}))
        except Exception:  # its arguments are not as that class writes them, or are inert themselves
            return self._inert(self._callable[id(function)])()

    def _created(self, function: type[Inert], args: Any) -> Inert:
        """An inert object; of the class in the arguments, if the function is one by which pickles create objects."""
        is_helper = function.kind.startswith("copyreg.")
        if is_helper and isinstance(args, tuple) and args and isinstance(args[0], type) and issubclass(args[0], Inert):
            return args[0]()
        return function()

    def _reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._called(self.stack[-1], args)

    def _newobj(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._called(self.stack[-1], args)

    def _newobj_ex(self) -> None:
        settings = self.stack.pop()
        args = self.stack.pop()
        self.stack[-1] = self._called(self.stack[-1], args, settings)

    def _build(self) -> None:
        state = self.stack.pop()
        value = self.stack[-1]
        kind = type(value)
        if isinstance(value, Inert):
            value.fill(state)
        elif kind in (DType, PlainArray, torch.nn.Parameter):
            value.__setstate__(state)
        elif kind is Tensor:  # of torch before 0.4
            value.set_(*state)
        elif kind is Namespace and isinstance(state, Mapping):
            vars(value).update(state)
        elif kind not in DICTS:  # an ordered dict's state is torch's version numbers of modules
            raise pickle.UnpicklingError(f"it sets the state of an object of {kind.__name__}")

    def _append(self) -> None:
        self._extend([self.stack.pop()])

    def _appends(self) -> None:
        self._extend(self.pop_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Inert):
            target.values.extend(items)
        elif type(target) is list:
            target.extend(items)
        elif type(target) is set:
            target.update(items)
        else:
            raise pickle.UnpicklingError(f"it appends to an object of {type(target).__name__}")

    def _setitem(self) -> None:
        value = self.stack.pop()
        self._set_items([self.stack.pop(), value])

    def _setitems(self) -> None:
        self._set_items(self.pop_mark())

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Inert):
            target = target.entries
        if type(target) not in DICTS:
            raise pickle.UnpicklingError(f"it sets items of an object of {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key] = value

    def _persid(self) -> None:
        raise pickle.UnpicklingError("it names an object outside the file")

    def _binpersid(self) -> None:
        """A storage, or a class with its source code, which is dropped: torch would look up and compare the source."""
        what = self.stack.pop()
        kind = what[0] if isinstance(what, tuple) and len(what) > 1 else None
        if kind in ("module", b"module"):
            self.append(what[1])
        elif kind in ("storage", b"storage"):
            self.append(self.persistent_load(what))
        else:
            raise pickle.UnpicklingError("it names an object outside the file")

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch,
        pickle.REDUCE[0]: _reduce,
        pickle.NEWOBJ[0]: _newobj,
        pickle.NEWOBJ_EX[0]: _newobj_ex,
        pickle.BUILD[0]: _build,
        pickle.APPEND[0]: _append,
        pickle.APPENDS[0]: _appends,
        pickle.ADDITEMS[0]: _appends,
        pickle.SETITEM[0]: _setitem,
        pickle.SETITEMS[0]: _setitems,
        pickle.PERSID[0]: _persid,
        pickle.BINPERSID[0]: _binpersid,
    }
