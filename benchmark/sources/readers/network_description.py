"""Describe the factory of a network in plain values, and make it again from a description in an untrusted file.

A description is one of these, each with what its reader knows of the network:

- `class`: a class of MONAI, of nnU-Net's network package or of this project, and its `settings`. `arguments` are its
  own names of in_channels and out_channels, and `folder` is that of a bundle whose code it is.
- `plans`: `architecture` in nnU-Net's plans.json.
- `adaptation_plan`: the class, its `settings` and the names of those that are `layers`, as in nnssl's plan.
- `trainer`: one of nnU-Net's trainers, with its `plans` and its `plan`, which is a configuration of them.

Tuples and classes of layers among the values are marked. Without trust nothing is imported or called but the classes
that the readers allow, and their arguments are checked as in the files that they come from.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import nn

from benchmark.errors import InputError
from benchmark.sources.networks.planned_unet import plain_unet
from benchmark.sources.networks.skeleton import Network
from benchmark.sources.readers.bundle_config import built_in, importable
from benchmark.sources.readers.named_code import imported_function, with_own_names
from benchmark.sources.readers.nnssl import UNETS, adapted_unet
from benchmark.sources.readers.nnunet_trainers import built_by, network_by_trainer, network_of_trainer
from benchmark.sources.readers.planned_network import network_by_plans, planned_network
from benchmark.sources.weights.families import FAMILIES
from benchmark.sources.weights.former_arguments import without_fetching
from benchmark.sources.weights.safe_load import LAYERS, NETWORKS, literal, module_class
from benchmark.sources.weights.swin_merging import MERGING

TUPLE, CLASS, TARGET = "_tuple_", "_class_", "_target_"  # keys that mark a value; the last is Hydra's
ARCHITECTURE = ("network_class_name", "arch_kwargs", "_kw_requires_import")  # in plans.json
MARKS = (TUPLE, CLASS, TARGET)
Description = dict[str, Any]


def _dotted(item: Any) -> str:
    return f"{item.__module__}.{item.__qualname__}"


# what the readers build themselves and no installed package has
OWN = {_dotted(make): make for make in (plain_unet, *(f.network for f in FAMILIES.values())) if make is not None}
MERGINGS = {_dotted(cls): cast("type[nn.Module]", cls) for cls in MERGING.values() if inspect.isclass(cls)}


def describe_network(network: Network) -> Description:
    """Describe a factory as the readers make it, or a user's own class or function with plain settings.

    Raises:
        InputError: The factory or one of its arguments cannot be described; the line says which.
    """
    made = network if isinstance(network, partial) else partial(network)
    describe = next((kind for factory, kind in KINDS.items() if factory is made.func), None)
    return describe(made) if describe else {"class": _name(made.func)} | _settings(made)


def described_network(description: Mapping[str, Any], *, where: str, trust: bool = False) -> Network:
    """Make the factory that a description is of.

    Args:
        description: From an untrusted file.
        where: The file and field, for errors.
        trust: Allow classes and functions of any package.

    Raises:
        InputError: A class is refused, or a value is not plain.
        LookupError, TypeError, ValueError, AttributeError: The description is not complete, or has another form.
    """
    if "class" in description:
        return _class(description, where, trust=trust)
    if "plans" in description and "trainer" not in description:
        return planned_network(_value(description["plans"], where, trust=trust), where=where, trust=trust)
    if "adaptation_plan" in description:
        return _adaptation_plan(description, where)
    return _trainer(description, where, trust=trust)


def needs_trust(description: Mapping[str, Any]) -> bool:
    """Whether a description names code that is imported only with trust."""
    try:
        described_network(description, where="network")
    except InputError:
        return True
    return False


# --- factories to descriptions ---


def _settings(network: partial[Any]) -> Description:
    shown = _shown(network.func)
    if network.args:
        raise InputError(f"cannot describe the network: {shown} has positional arguments")
    return {"settings": {name: _plain(value, f"{name} of {shown}") for name, value in network.keywords.items()}}


def _describe_renamed(network: partial[Any]) -> Description:
    inner, *arguments = network.args
    return describe_network(inner) | {"arguments": arguments}


def _describe_bundle(network: partial[Any]) -> Description:
    folder, inner = network.args
    return {"class": _dotted(inner.func), "folder": str(Path(folder).absolute())} | _settings(inner)


def _describe_planned(network: partial[Any]) -> Description:
    return {"plans": _plain(dict(zip(ARCHITECTURE, network.args, strict=True)), "plans")}


def _describe_adapted(network: partial[Any]) -> Description:
    name, settings, layers = network.args
    return {"adaptation_plan": name, "settings": _plain(settings, "the adaptation plan"), "layers": list(layers)}


def _describe_trainer(network: partial[Any]) -> Description:
    trainer, plans, plan = network.args
    return {"trainer": trainer, "plans": _plain(plans, "plans"), "plan": _plain(plan, "plans")}


KINDS: Mapping[Callable[..., Any], Callable[[partial[Any]], Description]] = {
    with_own_names: _describe_renamed,
    built_in: _describe_bundle,
    network_by_plans: _describe_planned,
    adapted_unet: _describe_adapted,
    network_by_trainer: _describe_trainer,
}


def _name(make: Any) -> str:
    """The name under which a class or function is imported again, `package.module.Class` or `package.module:function`.

    Raises:
        InputError: It cannot be imported by a name.
    """
    module, qualified = getattr(make, "__module__", None), getattr(make, "__qualname__", "")
    home = sys.modules.get(module) if isinstance(module, str) and module != "__main__" else None
    if home is None or getattr(home, qualified, None) is not make:
        raise InputError(f"cannot describe the network: {_shown(make)} is not a class or function of a module")
    return _dotted(make) if _is_module(make) or _dotted(make) in OWN else f"{module}:{qualified}"


def _is_module(make: object) -> bool:
    return inspect.isclass(make) and issubclass(make, nn.Module)


def _shown(make: Any) -> str:
    return _dotted(make) if hasattr(make, "__qualname__") else type(make).__name__


def _plain(value: Any, where: str) -> Any:
    """A value as JSON has it, with tuples and classes marked.

    Raises:
        InputError: It is none of these.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        inner = [_plain(item, where) for item in value]
        return inner if isinstance(value, list) else {TUPLE: inner}
    if _is_module(value):
        return {CLASS: _name(value)}
    if isinstance(value, Mapping) and all(isinstance(key, str) and key not in MARKS for key in value):
        return {name: _plain(inner, f"{where}.{name}") for name, inner in value.items()}
    raise InputError(f"cannot describe the network: {where} is {type(value).__name__}, not a plain value or a layer")


# --- descriptions to factories ---


def _class(description: Mapping[str, Any], where: str, *, trust: bool) -> Network:
    folder = description.get("folder")
    if folder is not None and trust:
        place = Path(folder)
        with importable(place):
            inner = _class({**description, "folder": None}, where, trust=True)
        return partial(built_in, place, inner)
    name = str(description["class"])
    if folder is not None:
        raise InputError(f"{where} is of {name} in {folder}, whose code is run only with trust=true")
    settings = _value(dict(description["settings"]), where, trust=trust)
    made = _imported(name, where, trust=trust)
    network = partial(made, **without_fetching(made, settings))
    if "arguments" not in description:
        return network
    channels, classes = map(str, description["arguments"])
    return partial(with_own_names, network, channels, classes)


def _imported(name: str, where: str, *, trust: bool) -> Network:
    if name in OWN:
        return OWN[name]
    if trust and ":" in name:
        return imported_function(name, source=where)
    return module_class(name, within=NETWORKS, where=where, trust=trust)


def _adaptation_plan(description: Mapping[str, Any], where: str) -> Network:
    name, layers = description["adaptation_plan"], sorted(map(str, description["layers"]))
    if name not in UNETS:
        raise InputError(f"{where}: adaptation_plan must be one of {', '.join(UNETS)}, got {name}")
    settings = _value(dict(description["settings"]), where, trust=False)
    for layer in layers:
        module_class(str(settings[layer]), within=LAYERS, where=f"{where}: {layer}")
    return partial(adapted_unet, name, settings, tuple(layers))


def _trainer(description: Mapping[str, Any], where: str, *, trust: bool) -> Network:
    name = str(description["trainer"])
    if built_by(name) != name:
        raise InputError(f"{where} must name a trainer of nnU-Net that builds a network, got {name}")
    plans, plan = (cast("dict[str, Any]", _value(description[key], where, trust=trust)) for key in ("plans", "plan"))
    planned_network(plan["architecture"], where=where, trust=trust)  # whose classes a trainer may import
    return network_of_trainer(name, plans, plan)


def _value(value: Any, where: str, *, trust: bool) -> Any:
    """A value of a description, with the tuples and layers that are marked.

    Raises:
        InputError: It names a class that is no layer, or an object or expression.
    """
    if isinstance(value, list):
        return [_value(inner, where, trust=trust) for inner in value]
    if not isinstance(value, dict) or TARGET in value:
        return literal(value, where=where)
    if TUPLE in value:
        return tuple(_value(list(value[TUPLE]), where, trust=trust))
    if CLASS in value:
        return _layer(str(value[CLASS]), where, trust=trust)
    return {name: _value(inner, f"{where}.{name}", trust=trust) for name, inner in value.items()}


def _layer(name: str, where: str, *, trust: bool) -> type[nn.Module]:
    return MERGINGS.get(name) or module_class(name, within=LAYERS, where=where, trust=trust)
