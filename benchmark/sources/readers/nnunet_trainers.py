"""Trainers of nnU-Net v2: whether a trainer builds the network of plans.json, the same with batch norm, or its own."""

import ast
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from benchmark.data.preprocessing.planning import Plans
from benchmark.errors import InputError, one_line
from benchmark.sources.networks.primus import HEAD, TOKENS
from benchmark.sources.networks.skeleton import Network

BUILDER = "build_network_architecture"  # the method that a trainer overrides to build another network
PLAIN, BATCH_NORM = "nnUNetTrainer", "nnUNetTrainerBN"
PACKAGE = "nnunetv2.training.nnUNetTrainer"


@dataclass(frozen=True)
class TrainerClass:
    """A trainer class of the installed nnU-Net: its module, first base class, and whether it overrides `BUILDER`."""

    module: str
    base: str
    builds: bool


def built_by(trainer: str) -> str | None:
    """The class that defines a trainer's network: the trainer itself, or a class that it inherits from.

    The classes are parsed from the installed package's files and not imported, since some need packages that may be
    missing. None if the trainer is not one of nnU-Net's own.

    Example:
        >>> built_by("nnUNetTrainer_250epochs"), built_by("nnUNetTrainerBN"), built_by("MyTrainer")
        ('nnUNetTrainer', 'nnUNetTrainerBN', None)
    """
    trainers = _trainers()
    while trainer in trainers:
        if trainers[trainer].builds:
            return trainer
        trainer = trainers[trainer].base
    return None


@cache
def _trainers() -> Mapping[str, TrainerClass]:
    spec = find_spec("nnunetv2")
    folder = Path(spec.origin).parent / "training" / "nnUNetTrainer" if spec and spec.origin else Path()
    trainers = {}
    for path in sorted(folder.rglob("*.py")):
        module = ".".join((PACKAGE, *path.relative_to(folder).with_suffix("").parts))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
                own = {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
                trainers[node.name] = TrainerClass(module, bases[0] if bases else "", BUILDER in own)
    return trainers


def unknown_trainer(trainer: str) -> str:
    """Explain why a trainer's network is unknown."""
    return f"trainer {trainer or '(not named)'} is not one of nnU-Net's own"


def with_batch_norm(parts: Plans, dims: int) -> Plans:
    """The `architecture` of a plan as the trainer with batch norm changes it."""
    norm = f"torch.nn.modules.batchnorm.BatchNorm{dims}d"
    changed = parts["arch_kwargs"] | {"norm_op": norm, "norm_op_kwargs": {"eps": 1e-5, "affine": True}}
    return {**parts, "arch_kwargs": changed}


def network_of_trainer(builder: str, plans: Plans, plan: Plans) -> Network:
    """The network of one of nnU-Net's own trainers that does not build that of plans.json, such as Primus.

    Args:
        builder: A trainer class of the installed package, as `built_by` returns it.
        plans: The content of plans.json.
        plan: The configuration.

    Raises:
        InputError: The class cannot be imported, since a package that it needs is missing.
    """
    try:
        importlib.import_module(_trainers()[builder].module)
    except Exception as error:  # packages of other versions fail in any way while they are imported
        raise InputError(f"nnU-Net's class {builder} cannot be imported: {one_line(error)}") from error
    return partial(network_by_trainer, builder, plans, plan)


def network_by_trainer(builder: str, plans: Plans, plan: Plans, *, in_channels: int, out_channels: int) -> nn.Module:
    """Build the network of a trainer as its class does; arguments as in `network_of_trainer`."""
    from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

    trainer: Any = getattr(importlib.import_module(_trainers()[builder].module), builder)
    managers = PlansManager(dict(plans)), ConfigurationManager(dict(plan))
    made = cast("nn.Module", getattr(trainer, BUILDER)(*managers, in_channels, out_channels, False))
    if isinstance(getattr(made, HEAD, None), nn.Module) and not hasattr(made, TOKENS):
        tokens = nn.Identity()  # so that the map of a transformer's tokens is the output of a module
        made.add_module(TOKENS, tokens)
        made.get_submodule(HEAD).register_forward_pre_hook(partial(_through, tokens))
    return made


def _through(module: nn.Module, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (module(inputs[0]), *inputs[1:])
