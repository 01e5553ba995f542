"""Read the configs of a MONAI bundle: as plain values with references, or evaluated by MONAI for a trusted bundle."""

import importlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from benchmark.errors import InputError, one_line

NETWORKS = ("network_def", "network", "net")  # keys of the network in bundles
OWN = ("_target_", "_desc_", "_requires_", "_disabled_", "in_channels", "out_channels")
REFERENCES = ("@", "%")  # of MONAI's config language: the value, or the text, at a place of the config
STEPS = 20  # references that are followed one after the other
MOST = 100_000  # values; references to lists of references can grow without end


def read_config(path: Path) -> dict[str, Any]:
    """Read a JSON or YAML file without evaluating it.

    Raises:
        InputError: The file is unreadable or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise InputError(f"cannot read {path} as JSON or YAML: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must be a mapping, got {type(content).__name__}")
    return content


def plain_network(config: Path) -> tuple[str, dict[str, Any]]:
    """The network's class and arguments, with references to plain values resolved; no code is run.

    Raises:
        InputError: The config names no network.
    """
    content = read_config(config)
    node = next((content[name] for name in NETWORKS if _is_object(content.get(name))), None)
    if node is None:
        raise InputError(f"no {' or '.join(NETWORKS)} with a _target_ in {config}; trust=true evaluates the config")
    settings = {name: resolved(value, content) for name, value in node.items() if name not in OWN}
    return str(resolved(node["_target_"], content)), settings


def evaluated_network(config: Path, where: str) -> tuple[str, dict[str, Any]]:
    """The network's class and arguments, evaluated with MONAI's parser, for a bundle that the user trusts.

    Raises:
        InputError: The config names no network, or its expressions fail.
    """
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    try:
        parser.read_config(str(config))
        parser["bundle_root"] = str(config.parent.parent)
        if parser.get("imports") is not None:
            parser.get_parsed_content("imports")  # makes the modules known to the expressions
        name = next((name for name in NETWORKS if _is_object(parser.get(name))), "")
        settings = {key: parser.get_parsed_content(f"{name}::{key}") for key in parser.get(name, {}) if key not in OWN}
        target = str(parser[name]["_target_"]) if name else ""
    except Exception as error:  # whatever the bundle's own expressions raise
        raise InputError(f"MONAI's parser cannot evaluate {where}: {one_line(error)}") from error
    if not target:
        raise InputError(f"no {' or '.join(NETWORKS)} with a _target_ in {config}")
    return target, settings


def resolved(value: object, content: Mapping[str, Any]) -> Any:
    """Replace references such as `@spatial_dims` or `%train::deterministic_transforms` by the values they name.

    Expressions, and references to what the config does not have, are left as they are.

    Args:
        value: A value of the config.
        content: The config.

    Raises:
        InputError: The references make the value too large.

    Example:
        >>> resolved(["@size", "@roi::0", "$1 + 1"], {"size": 3, "roi": ["@size"]})
        [3, 3, '$1 + 1']
    """
    return _resolved(value, content, STEPS, count())


def _resolved(value: object, content: Mapping[str, Any], steps: int, number: Iterator[int]) -> Any:
    if next(number) > MOST:
        raise InputError(f"the config of a bundle has references to more than {MOST:,} values")
    if steps == 0:
        return value
    if isinstance(value, str) and value.startswith(REFERENCES):
        named = at(content, value[1:])
        return value if named is None else _resolved(named, content, steps - 1, number)
    if isinstance(value, list):
        return [_resolved(inner, content, steps - 1, number) for inner in value]
    if isinstance(value, dict):
        return {name: _resolved(inner, content, steps - 1, number) for name, inner in value.items()}
    return value


def at(content: Mapping[str, Any], place: str) -> Any:
    """The value at a place such as `train::preprocessing::transforms` or `roi#0`; None if there is none."""
    value: Any = content
    for part in place.replace("#", "::").split("::"):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _is_object(node: object) -> bool:
    return isinstance(node, dict) and "_target_" in node


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Make the modules in a bundle's folder, such as `scripts`, importable; they are unloaded at the end.

    Modules of the same name that were loaded before are set aside and restored, so that two bundles never share one.
    """
    own = {path.stem for path in (*folder.glob("*.py"), *(file.parent for file in folder.glob("*/*.py")))}
    own |= {file.parents[1].name for file in folder.glob("*/*/*.py")}
    own -= sys.stdlib_module_names
    aside = _taken_out(own)
    place = str(folder.resolve())
    sys.path.insert(0, place)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(place)
        _taken_out(own)
        sys.modules.update(aside)


def _taken_out(packages: set[str]) -> dict[str, Any]:
    names = [name for name in sys.modules if name.partition(".")[0] in packages]
    return {name: sys.modules.pop(name) for name in names}


def built_in(folder: Path, network: Callable[..., Any], **channels: int) -> Any:
    """Build a network while its bundle's folder is importable."""
    with importable(folder):
        return network(**channels)
