"""Checkpoints of public networks with weights made from their tensors' names, and what such a network computes.

Each JSON file beside this one holds facts of a family: the tensors of its checkpoints in order, how they are wrapped,
and mean, standard deviation and samples of what the public class computes with these weights.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
TOLERANCE = 1e-4  # of the output's standard deviation; the facts' float32 runs are off their float64 runs by 1e-5


def facts(family):
    """The facts of a family."""
    return json.loads((HERE / f"{family}.json").read_text(encoding="utf-8"))


def made_up(tensors):
    """Weights for `[name, shape, dtype]`, each drawn from a generator that its name seeds; integers are left out."""
    weights = {}
    for name, shape, dtype in tensors:
        if not dtype.startswith("float"):
            continue
        draws = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
        if len(shape) > 1:
            values = draws / np.sqrt(np.prod(shape[1:]))
        elif name.endswith("weight"):
            values = 1 + 0.1 * draws
        elif name.endswith("running_var"):
            values = np.abs(1 + 0.1 * draws)
        else:
            values = 0.1 * draws
        weights[name] = torch.from_numpy(np.asarray(values, dtype=np.float32))
    return weights


def check_input(check):
    """The input of a numeric check."""
    return torch.from_numpy(np.random.default_rng(0).standard_normal(check["input_shape"]).astype(np.float32))


def assert_computes(network, check):
    """A network puts out, and has in its decoder, what a check says."""
    wanted = [{"module": check["output"], "mean": check["output_mean"], "std": check["output_std"],
               "samples": check["output_samples"]}]  # fmt: skip
    wanted += check.get("decoder_stages", []) + check.get("other_features", [])
    maps, handles = {}, []
    for one in wanted:
        part = network.get_submodule(one["module"])
        handles.append(part.register_forward_hook(lambda _, __, out, at=one["module"]: maps.update({at: out})))
    with torch.no_grad():
        network.eval()(check_input(check))
    for handle in handles:
        handle.remove()
    for one in wanted:
        output = maps[one["module"]]
        bound = TOLERANCE * one["std"]
        assert abs(float(output.mean()) - one["mean"]) <= bound, one["module"]
        assert abs(float(output.std(correction=0)) - one["std"]) <= bound, one["module"]
        for *at, value in one["samples"]:
            assert abs(float(output[tuple(at)]) - value) <= bound, (one["module"], at)
