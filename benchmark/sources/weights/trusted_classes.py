"""Which classes a file may name: code that comes with a checkpoint is never run unless the user says so."""

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
    """A torch module's class by its dotted name.

    Args:
        name: The name, `package.module.Class`.
        within: Packages that it must be of.
        where: The file and field that name it, for errors.
        trust: Take a class of any package.

    Raises:
        InputError: It is of another package, cannot be imported, or is no class of torch modules.
    """
    rule = f"{where} must name a network class of {' or '.join(within)}"
    if not trust and not _is_within(name, within):
        raise InputError(f"{rule}, got {name}; trust=true takes others")
    try:
        found = pydoc.locate(name)
    except (pydoc.ErrorDuringImport, ImportError) as error:
        raise InputError(f"{rule}, got {name}, whose import fails: {' '.join(str(error).split())}") from error
    if not inspect.isclass(found) or not issubclass(found, nn.Module):
        raise InputError(f"{rule}, got {name}, which is none")
    if not trust and not _is_within(found.__module__, within):  # reached through another module's imports
        raise InputError(f"{rule}, got {name}, which is {found.__module__}'s")
    return found


def _is_within(name: str, packages: Sequence[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def monai_class(name: str, *, where: str, trust: bool = False) -> type[nn.Module]:
    """A class of MONAI's networks, by its dotted or its own name as bundles write it."""
    nets = importlib.import_module("monai.networks.nets")
    full = name if "." in name or not hasattr(nets, name) else f"{NETWORKS[0]}.{name}"
    return module_class(full, within=NETWORKS, where=where, trust=trust)


def literal(value: Any, *, where: str) -> Any:
    """A plain value, as it is.

    Raises:
        InputError: It holds an expression, a reference or an object to make, which only a trusted file may.
    """
    if isinstance(value, dict):
        if "_target_" in value:
            raise InputError(
                f"{where} must be a plain value, got an object of {value['_target_']}; trust=true makes it"
            )
        return {name: literal(inner, where=f"{where}.{name}") for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [literal(inner, where=where) for inner in value]
    if isinstance(value, str) and value.startswith(("$", "@", "%")):
        raise InputError(f"{where} must be a plain value, got {value}; trust=true evaluates it")
    return value
