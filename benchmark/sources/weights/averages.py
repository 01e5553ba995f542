"""EMA weights: exponential or other moving averages of a network's weights, which files have next to the plain ones.

They are under a key of their own (`model_ema`, `state_dict_ema`), in a callback of Lightning, or in the same state dict
under a prefix (`ema_model.`). Lightning's own WeightAveraging swaps them: `state_dict` has the averages, and
`current_model_state` the plain weights.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from torch import Tensor

from benchmark.sources.weights.inert import mapping_of

EMA = re.compile(r"([a-z0-9]+_)*ema(_[a-z0-9]+)*", re.IGNORECASE)  # a key, or a part of a tensor's name
LIGHTNING = ("current_model_state", "state_dict")  # plain, averaged
NEAR = 3  # parts of a name in which a prefix is looked for
SHARED = 0.5  # share of the plain weights that averages must have, so that an unrelated `ema` is not taken for them


@dataclass(frozen=True)
class Averages:
    """EMA weights under the names of the plain ones, and the key or prefix under which they are in the file."""

    where: str
    weights: Mapping[str, Tensor]


def averages_under(content: Mapping[Any, Any]) -> dict[str, Mapping[Any, Any]]:
    """The mappings under a key that says EMA, in a file's content or in its callbacks."""
    found = dict(_named_ema(content))
    if all(isinstance(content.get(name), Mapping) for name in LIGHTNING):
        found[LIGHTNING[1]] = content[LIGHTNING[1]]
    callbacks = content.get("callbacks")
    for callback, state in callbacks.items() if isinstance(callbacks, Mapping) else ():
        if isinstance(state, Mapping):
            found |= {f"callbacks.{callback}.{name}": inner for name, inner in _named_ema(state)}
    return found


def _named_ema(content: Mapping[Any, Any]) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    for name, value in content.items():
        if isinstance(name, str) and EMA.fullmatch(name) and (inner := mapping_of(value)):
            yield name, inner


def split_by_prefix(weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The tensors of each prefix whose last part says EMA; those of no such prefix under the empty prefix."""
    parts: dict[str, dict[str, Tensor]] = {"": {}}
    for name, tensor in weights.items():
        starts = name.split(".")[:-1][:2]
        index = next((i for i, part in enumerate(starts) if EMA.fullmatch(part)), None)
        prefix = "" if index is None else ".".join(starts[: index + 1]) + "."
        parts.setdefault(prefix, {})[name] = tensor
    return parts


def aligned(where: str, plain: Mapping[str, Tensor], averaged: Mapping[str, Tensor]) -> Averages | None:
    """Name averages as the plain weights, whose prefix may differ; None if they are not of the same network.

    Some implementations leave out the dots in the names of averages, so that names are compared without them.
    """
    best: dict[str, Tensor] = {}
    for start in _prefixes(list(averaged)):
        rest = {
            name[len(start) :].replace(".", ""): value for name, value in averaged.items() if name.startswith(start)
        }
        for own in _prefixes(list(plain)):
            names = {name: name[len(own) :].replace(".", "") for name in plain if name.startswith(own)}
            same = {name: rest[short] for name, short in names.items() if short in rest}
            same = {name: value for name, value in same.items() if value.shape == plain[name].shape}
            best = same if len(same) > len(best) else best
    return Averages(where, best) if best and len(best) >= SHARED * len(plain) else None


def _prefixes(names: Sequence[str]) -> list[str]:
    """The prefixes of the first and last name, from none to three parts."""
    ends = [name.split(".")[:-1][:NEAR] for name in (*names[:1], *names[-1:])]
    return list(
        dict.fromkeys(prefix for parts in ends for prefix in accumulate((f"{part}." for part in parts), initial=""))
    )
