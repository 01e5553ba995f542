"""Import classes that a file names; code that comes with a checkpoint is run only if the user trusts it."""

import importlib
import inspect
import pydoc
from collections.abc import Sequence
from typing import Any

from torch import nn

from benchmark.errors import InputError

NETWORKS = ("monai.networks.nets", "dynamic_network_architectures")
LAYERS = ("torch.nn", "dynamic_network_architectures")


def module_class(name: str, *, within: Sequence[str], where: str, trust: bool = False) -> type[nn.Module]:
    """Import a class of torch modules by its dotted name.

    Args:
        name: The name, `package.module.Class`.
        within: The allowed packages.
        where: The file and field with the name, for errors.
        trust: Allow a class of any package.

    Raises:
        InputError: The class is of another package, cannot be imported, or is not a class of torch modules.
    """
    rule = f"{where} must name a network class of {' or '.join(within)}"
    if not trust and not _is_within(name, within):
        raise InputError(f"{rule}, got {name}; trust=true allows others")
    try:
        located = pydoc.locate(name)
    except (pydoc.ErrorDuringImport, ImportError) as error:
        raise InputError(f"{rule}, got {name}, whose import fails: {' '.join(str(error).split())}") from error
    if not inspect.isclass(located) or not issubclass(located, nn.Module):
        raise InputError(f"{rule}, got {name}, which is not a torch module")
    if not trust and not _is_within(located.__module__, within):  # reached through another module's imports
        raise InputError(f"{rule}, got {name}, which is defined in {located.__module__}")
    return located


def _is_within(name: str, packages: Sequence[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def monai_class(name: str, *, where: str, trust: bool = False) -> type[nn.Module]:
    """Import a class of MONAI's networks by its dotted name or, as in bundles, its own name."""
    nets = importlib.import_module("monai.networks.nets")
    full = name if "." in name or not hasattr(nets, name) else f"{NETWORKS[0]}.{name}"
    return module_class(full, within=NETWORKS, where=where, trust=trust)


def literal(value: Any, *, where: str) -> Any:
    """Return a plain value unchanged.

    Raises:
        InputError: The value contains an expression, a reference or an object to create, which needs trust.
    """
    if isinstance(value, dict):
        if "_target_" in value:
            raise InputError(
                f"{where} must be a plain value, got an object of {value['_target_']}; trust=true creates it"
            )
        return {name: literal(inner, where=f"{where}.{name}") for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [literal(inner, where=where) for inner in value]
    if isinstance(value, str) and value.startswith(("$", "@", "%")):
        raise InputError(f"{where} must be a plain value, got {value}; trust=true evaluates it")
    return value
