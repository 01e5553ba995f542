"""Weights by a rule, files in the form of public ones, and the comparison with the values in `facts`.

The facts of a family are its origin, a digest of its names and shapes, and `checks`: an input's shape, and the mean,
standard deviation and samples of what the public class computes with these weights.
"""

import json
import zlib
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

FACTS = Path(__file__).parent / "facts"
ROUNDING = 1e-4  # of a map's standard deviation; a float32 run differs from a float64 run by up to 4e-5


def facts_of(family):
    """The facts of a family, a file of the folder `facts` without its suffix."""
    return json.loads((FACTS / f"{family}.json").read_text(encoding="utf-8"))


def filled(tensors):
    """Weights by the rule of the facts: each is drawn from its name and shape; those that share memory are equal.

    Args:
        tensors: Name in the file -> tensor of the network; integers are kept as they are.
    """
    first = {}
    weights = {}
    for name, tensor in tensors.items():
        place = (tensor.data_ptr(), tuple(tensor.shape))
        weights[name] = weights[first[place]] if place in first else _drawn(name, tensor)
        first.setdefault(place, name)
    return weights


def _drawn(name, tensor):
    if not tensor.is_floating_point():
        return tensor.clone()
    shape = tuple(tensor.shape)
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if len(shape) > 1:
        values /= np.sqrt(np.prod(shape[1:]))
    else:
        values *= 0.1
        values += 1 if name.endswith(("weight", "running_var")) else 0
    values = np.abs(values) if len(shape) == 1 and name.endswith("running_var") else values
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def layout_digest(tensors):
    """SHA-256 over the names and shapes of a state dict."""
    lines = sorted(f"{name} {list(tensor.shape)}\n" for name, tensor in tensors.items())
    return sha256("".join(lines).encode()).hexdigest()


def save_as_public(path, weights, *, prefix="", wrapper="", others=None, extras=None):
    """Write weights in the form of a public file.

    Args:
        path: The file.
        weights: The state dict.
        prefix: What stands before each of its names.
        wrapper: The key of the state dict; empty: the file has only the state dict.
        others: Objects next to the state dict.
        extras: Further tensors in it, whose names have no prefix.
    """
    state = {f"{prefix}{name}": tensor for name, tensor in weights.items()} | (extras or {})
    torch.save({**(others or {}), wrapper: state} if wrapper else state, path)
    return path


def check_model(model, check, modules=None):
    """Compare the maps that an opened source computes with those of a check: the output and all listed modules.

    Args:
        model: The source.
        check: An entry of `checks`.
        modules: Name of a module in the public class -> its name in the network that was built, where they differ.
    """
    names = modules or {}
    stages = {stage["module"]: stage for stage in (*check["decoder_stages"], *check.get("other_features", ()))}
    network = model.network()
    maps = {}
    for name in (*stages, *([] if "logits" in check["output"] else [check["output"]])):
        part = network.get_submodule(names.get(name, name))
        part.register_forward_hook(lambda *call, name=name: maps.setdefault(name, call[2].clone()))
    image = np.random.default_rng(0).standard_normal(check["input_shape"]).astype(np.float32)
    with torch.no_grad():
        logits = network(torch.from_numpy(image))
    output = maps.get(check["output"], logits)
    _compare(output, {name.removeprefix("output_"): value for name, value in check.items()})
    for name, stage in stages.items():
        _compare(maps[name], stage)


def _compare(computed, expected):
    assert list(computed.shape) == expected["shape"]
    limit = ROUNDING * expected["std"]
    assert abs(float(computed.double().mean()) - expected["mean"]) <= limit
    assert abs(float(computed.double().std(correction=0)) - expected["std"]) <= limit
    for *index, value in expected["samples"]:
        assert abs(float(computed[tuple(index)]) - value) <= limit, (index, value)
