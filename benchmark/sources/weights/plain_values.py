"""Plain values in a pickle next to tensors: numpy arrays and numbers, containers, paths, dates, records of settings.

Each is rebuilt by an immutable class of Python, or by a function below that checks what the file has for it. numpy's
own functions are not called with a file's values: its data types can describe memory that does not belong to an array.
"""

import argparse
import datetime
import pathlib
import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from math import prod
from typing import Any

import numpy as np

KINDS = re.compile(r"[biufcSUO]\d+|\?")  # data types of arrays: numbers, text and, in arrays only, Python objects
ORDERS = "<>=|"


class DType:
    """A numpy data type as a pickle describes it, which `resolved` turns into numpy's own if it is a plain one."""

    __slots__ = ("_name", "_order")

    def __init__(self, name: object, *_: object) -> None:
        self._name = name.decode("latin1") if isinstance(name, bytes) else name
        self._order = "="

    def __setstate__(self, state: object) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        self._order = order if isinstance(order, str) and order in set(ORDERS) else "="
        is_plain = isinstance(state, tuple) and all(part is None for part in (*state[2:5], *state[8:]))
        self._name = self._name if is_plain else None  # fields of its own, or a date's unit

    @property
    def resolved(self) -> np.dtype[Any] | None:
        """The data type of numpy; None for records, dates and all others that are not plain."""
        if not isinstance(self._name, str) or not KINDS.fullmatch(self._name):
            return None
        try:
            return np.dtype(self._name).newbyteorder(self._order)  # type: ignore[arg-type]  # one of ORDERS
        except (TypeError, ValueError):
            return None


class PlainArray(np.ndarray[Any, Any]):
    """A numpy array that a pickle fills; one of records or dates stays empty."""

    def __new__(cls, *_: object) -> "PlainArray":
        """An empty array, whatever size the file asks for."""
        return super().__new__(cls, (0,), np.uint8)

    def __setstate__(self, state: Any) -> None:  # numpy's own is typed more narrowly
        _, shape, dtype, fortran, data = state if len(state) == 5 else (1, *state)
        numpy_type = dtype.resolved if isinstance(dtype, DType) else None
        if numpy_type is None:
            return
        sizes = tuple(int(size) for size in shape)
        length = len(data) if numpy_type.hasobject else len(data) // max(1, numpy_type.itemsize)
        if min(sizes, default=0) < 0 or prod(sizes) != length or type(data) not in (bytes, list):
            raise pickle.UnpicklingError(f"an array of shape {sizes} has {length} values")
        super().__setstate__((1, sizes, numpy_type, bool(fortran), data))  # type: ignore[arg-type]  # stubs want np.bool


def _scalar(dtype: object, data: object = b"") -> Any:
    numpy_type = dtype.resolved if isinstance(dtype, DType) else None
    content = data.encode("latin1") if isinstance(data, str) else data
    if numpy_type is None or numpy_type.hasobject or not isinstance(content, bytes):
        raise pickle.UnpicklingError("a number of numpy must have a plain type")
    return np.frombuffer(content, numpy_type, count=1)[0]


def _from_buffer(data: object, dtype: object, shape: Iterable[int], order: object = "C") -> Any:
    numpy_type = dtype.resolved if isinstance(dtype, DType) else None
    if numpy_type is None or numpy_type.hasobject or not isinstance(data, bytes | bytearray):
        raise pickle.UnpicklingError("an array must have a plain type")
    values = np.frombuffer(bytes(data), numpy_type)
    return values.reshape(tuple(shape), order="F" if order == "F" else "C")


def _dict(_: object = None, content: object = None) -> dict[Any, Any]:
    """A default dict, without what would be called for a missing key."""
    return dict(content) if isinstance(content, Mapping) else {}


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Bytes, which old pickles write as text."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"bytes are written as latin1, got {encoding!r}")
    return text.encode("latin1")


def _bytearray(data: object = b"", encoding: str = "latin1") -> bytearray:
    content = _encode(data, encoding) if isinstance(data, str) else data
    return bytearray(content if isinstance(content, bytes) else b"")


def _set(items: object = ()) -> set[Any]:
    return set(items if isinstance(items, list | tuple | set) else ())


def _frozenset(items: object = ()) -> frozenset[Any]:
    return frozenset(_set(items))


def _values() -> dict[str, Callable[..., Any]]:
    values: dict[str, Callable[..., Any]] = {
        "numpy.dtype": DType,
        "numpy.ndarray": PlainArray,
        "argparse.Namespace": argparse.Namespace,
        "collections.defaultdict": _dict,
        "_codecs.encode": _encode,
        "builtins.bytearray": _bytearray,
        "builtins.set": _set,
        "builtins.frozenset": _frozenset,
        "builtins.slice": slice,
    }
    for core in ("numpy._core", "numpy.core"):  # numpy 2, numpy 1
        values[f"{core}.multiarray._reconstruct"] = PlainArray
        values[f"{core}.multiarray.scalar"] = _scalar
        values[f"{core}.numeric._frombuffer"] = _from_buffer
    for module in ("pathlib", "pathlib._local"):
        for name in ("PosixPath", "PurePosixPath", "Path", "PurePath"):
            values[f"{module}.{name}"] = pathlib.PurePosixPath  # which never looks at a disk
        for name in ("WindowsPath", "PureWindowsPath"):
            values[f"{module}.{name}"] = pathlib.PureWindowsPath
    for cls in (datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone):
        values[f"datetime.{cls.__name__}"] = cls
    return values


VALUES = _values()  # dotted name in a pickle -> what rebuilds such a value
