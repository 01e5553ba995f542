"""The network of a checkpoint of nnU-Net v2: that of its plans, that of its trainer, or one recognised by its weights.

Only classes of nnU-Net's network package and of torch.nn are imported, unless the source is trusted.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from typing import cast

from torch import Tensor

from benchmark.data.preprocessing.planning import Plans, resolved_configuration
from benchmark.errors import InputError, one_line
from benchmark.sources.networks.architecture import Architecture
from benchmark.sources.networks.discover import discovered
from benchmark.sources.networks.planned_unet import planned_unet
from benchmark.sources.networks.primus import primus_architecture
from benchmark.sources.readers import nnunet_trainers
from benchmark.sources.readers.planned_network import planned_network
from benchmark.sources.weights.match import Fit, fitted
from benchmark.sources.weights.safe_load import reported_as

POSITIONS = "eva.pos_embed"  # of every Primus


@dataclass(frozen=True)
class Configured:
    """A configuration of nnU-Net and what names it in errors.

    Attributes:
        plans: The content of plans.json.
        plan: The configuration with inherited settings and, for plans before nnU-Net 2.4, its architecture.
        where: The file and configuration, for errors.
        trust: Allow the plans to name classes of any package.
    """

    plans: Plans
    plan: Plans
    where: str
    trust: bool = False

    @property
    def patch(self) -> Sequence[int]:
        """(3,) or (2,) voxels of the training windows."""
        return cast("Sequence[int]", self.plan["patch_size"])

    @property
    def strides(self) -> list[list[int]]:
        """Strides of the encoder's stages along each axis; empty if the network of the plans has none."""
        steps = self.plan["architecture"]["arch_kwargs"].get("strides") or ()
        return [list(step) if isinstance(step, list | tuple) else [step] * len(self.patch) for step in steps]


@dataclass(frozen=True)
class FittedNetwork:
    """An architecture, the weights that fit it, assumed settings, and notes on how it was chosen."""

    arch: Architecture
    fit: Fit
    assumed: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def configured(plans: Plans, configuration: str, where: str, *, trust: bool) -> Configured:
    """Select a configuration of the plans.

    Raises:
        InputError: The configuration is not there or not complete, or its network needs another network's output.
    """
    try:
        plan = resolved_configuration(plans, configuration)
        itemgetter("architecture", "patch_size")(plan)
        itemgetter("network_class_name", "arch_kwargs", "_kw_requires_import")(plan["architecture"])
        is_positive = all(side > 0 for side in plan["patch_size"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{where} has no complete configuration {configuration}: {one_line(error)}") from error
    if not is_positive:
        raise InputError(f"{where}: the patch_size of {configuration} must be positive, got {plan['patch_size']}")
    if plan.get("previous_stage"):
        raise InputError(f"{where}: {configuration} is a cascade, whose input is another network's; not supported")
    return Configured(plans, plan, f"{where}: {configuration}", trust)


def network_of(
    plan: Configured,
    trainer: str,
    weights: Mapping[str, Tensor],
    *,
    source: str,
    otherwise: Callable[[], FittedNetwork],
) -> FittedNetwork:
    """Build a checkpoint's network and match the weights with it.

    The trainer decides on the network; most trainers build that of the plans.

    Args:
        plan: The configuration.
        trainer: Name of the trainer's class; empty if unknown.
        weights: The state dict.
        source: The source's name, for errors.
        otherwise: Recognises the network by its tensors, if the weights are not of the network that nnU-Net builds.

    Raises:
        InputError: The plans name a class that is refused, or the weights are of no network that is known here.
    """
    builder = nnunet_trainers.built_by(trainer)
    build: Callable[[], FittedNetwork] = partial(_own, plan, trainer, str(builder), weights, source)
    attempts = [otherwise, build]
    if builder in (None, nnunet_trainers.PLAIN, nnunet_trainers.BATCH_NORM):
        build = partial(_fit, _planned(plan, builder), trainer, builder, weights, source)
        attempts = [build, otherwise]
    reasons: dict[Callable[[], FittedNetwork], InputError] = {}
    for attempt in attempts:
        try:
            return attempt()
        except InputError as error:
            reasons[attempt] = error
    raise InputError(_unread(str(reasons[build]), trainer, builder)) from reasons[build]


def _planned(plan: Configured, builder: str | None) -> Architecture:
    parts = dict(plan.plan["architecture"])
    if builder == nnunet_trainers.BATCH_NORM:
        parts = nnunet_trainers.with_batch_norm(parts, len(plan.patch))
    return _architecture(parts, plan)


def _fit(
    arch: Architecture, trainer: str, builder: str | None, weights: Mapping[str, Tensor], source: str
) -> FittedNetwork:
    fit = fitted(arch, weights, source=source)
    if builder is None:
        why = nnunet_trainers.unknown_trainer(trainer)
        note = f"assumed, since {why}: network = that of plans.json"
        return FittedNetwork(arch, fit, {"network": "that of plans.json"}, (note,))
    is_changed = builder == nnunet_trainers.BATCH_NORM
    return FittedNetwork(
        arch, fit, notes=(f"trainer {trainer}: batch norm instead of the plan's norm",) if is_changed else ()
    )


def _own(plan: Configured, trainer: str, builder: str, weights: Mapping[str, Tensor], source: str) -> FittedNetwork:
    """The network that one of nnU-Net's trainers builds without the plans' architecture."""
    network = nnunet_trainers.network_of_trainer(builder, plan.plans, plan.plan)
    with reported_as(f"source {source}: {builder} cannot build its network"):
        positions = next((tensor for name, tensor in weights.items() if name.endswith(POSITIONS)), None)
        if positions is not None:
            arch = primus_architecture(builder.lower(), network, img_size=plan.patch, embed_dim=positions.shape[-1])
        else:
            arch = discovered(builder.lower(), network, dims=len(plan.patch), size=plan.patch)
    fit = fitted(arch, weights, source=source)
    return FittedNetwork(arch, fit, notes=(f"trainer {trainer}: the network that nnU-Net's {builder} builds",))


def _unread(error: str, trainer: str, builder: str | None) -> str:
    if builder in (nnunet_trainers.PLAIN, nnunet_trainers.BATCH_NORM):
        return error
    known = "and its weights are of no other network that is known here"
    advice = "a function that builds its network can be named as package.module:function"
    if builder is None:
        return f"{error}; {nnunet_trainers.unknown_trainer(trainer)}, {known}; {advice}"
    return (
        f"trainer {trainer} builds a network of its own, which plans.json does not describe: {error}, {known}; {advice}"
    )


def _architecture(parts: Plans, plan: Configured) -> Architecture:
    factory = planned_network(parts, where=plan.where, trust=plan.trust)
    settings = parts["arch_kwargs"]
    name = f"nnunet_{factory.args[0].rpartition('.')[2].lower()}"
    if "n_stages" not in settings or "n_conv_per_stage_decoder" not in settings:
        return discovered(name, factory, dims=len(plan.patch), size=plan.patch)
    return planned_unet(name, factory, settings, dims=len(plan.patch))
