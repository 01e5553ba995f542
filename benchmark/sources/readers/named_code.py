"""Code that a user names: functions and classes that build networks, imported, and their digest."""

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from benchmark.errors import InputError
from benchmark.sources.weights.digest import weights_digest


def imported_function(factory: str, *, source: str) -> Callable[..., nn.Module]:
    """Import the function or class that builds a network.

    Args:
        factory: `package.module:function`.
        source: The source's name, for errors.

    Raises:
        InputError: It cannot be imported.
    """
    module, _, name = factory.partition(":")
    try:
        function: Callable[..., nn.Module] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        rule = f"source {source}: factory must be package.module:function"
        raise InputError(f"{rule}, got {factory}: {error}") from error
    return function


def code_digest(factory: str, *, source: str) -> str:
    """SHA-256 over the module of a function as in `imported_function`; its name, if it has no file."""
    place = inspect.getsourcefile(imported_function(factory, source=source))
    return weights_digest(Path(place)) if place else factory


def with_own_names(
    network: Callable[..., Any], channels: str, classes: str, *, in_channels: int, out_channels: int
) -> Any:
    """Build a network whose arguments for its channels and classes have other names."""
    return network(**{channels: in_channels, classes: out_channels})
