"""Checkpoints of nnssl, whose network is in their adaptation plan: residual and plain U-Nets, encoders, and Primus.

Wald et al., An OpenMind for 3D Medical Vision Self-supervised Learning, ICCV 2025, arXiv:2412.17041. The plan is in
the checkpoint, or in adaptation_plan.json in its folder or in the folder above fold_X. No pre-training has a
segmentation head. Only the network classes listed here and layers of torch.nn are built.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmark.data.preprocessing.normalise import ChannelSchemes, Scheme
from benchmark.data.preprocessing.preparation import Preparation, Resampling, settings
from benchmark.errors import InputError, one_line, with_class
from benchmark.sources.model import Model
from benchmark.sources.networks.architecture import STAGES, Architecture, by_setting, is_within
from benchmark.sources.networks.planned_unet import planned_unet
from benchmark.sources.networks.primus import Primus
from benchmark.sources.networks.skeleton import initial, shapes_of
from benchmark.sources.weights.match import HEAD_CLASSES, Allowed, Fit, assumptions, fitted
from benchmark.sources.weights.nnunet_like import AUTOENCODER, RESTORED, SWAPPED, primus_parts, read_primus
from benchmark.sources.weights.safe_load import LAYERS, literal, module_class, reported_as
from benchmark.sources.weights.unwrap import Unwrapped
from benchmark.storage.files import read_json

KEY, FILE = "nnssl_adaptation_plan", "adaptation_plan.json"
PACKAGE = "dynamic_network_architectures"
RESENC_L: dict[str, Any] = {
    "n_stages": 6,
    "features_per_stage": [32, 64, 128, 256, 320, 320],
    "conv_op": "torch.nn.Conv3d",
    "kernel_sizes": [[3, 3, 3]] * 6,
    "strides": [[1, 1, 1], *[[2, 2, 2]] * 5],
    "n_blocks_per_stage": [1, 3, 4, 6, 6, 6],
    "n_conv_per_stage_decoder": [1] * 5,
    "conv_bias": True,
    "norm_op": "torch.nn.InstanceNorm3d",
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
}
IMPORTED = ("conv_op", "norm_op", "dropout_op", "nonlin")
NO_SKIPS = "NoSkipResEncL"  # its decoder has no skip connections, which no network for segmentation has
FIXED = ("ResEncL", NO_SKIPS)  # named networks of the settings above
UNETS = ("ResidualEncoderUNet", "PlainConvUNet")
PRIMUS = ("PrimusS", "PrimusB", "PrimusM", "PrimusL")
BROKEN = (AttributeError, LookupError, TypeError, ValueError, InputError)


@dataclass(frozen=True)
class AdaptationPlan:
    """nnssl's description of a pre-trained network.

    Attributes:
        where: The file, for errors.
        network: The name of the network's class.
        arguments: Its arguments; None for the networks of fixed sizes.
        imported: The arguments that name classes.
        encoder: What the names of the encoder's tensors start with.
        stem: What the names of the stem's tensors start with.
        patch: (3,) voxels of the recommended training windows; None if not given.
        pretraining: The plan of the pre-training.
        trainer: The trainer's class; empty if unknown.
    """

    where: str
    network: str
    arguments: Mapping[str, Any] | None
    imported: tuple[str, ...]
    encoder: str
    stem: str
    patch: tuple[int, ...] | None
    pretraining: Mapping[str, Any]
    trainer: str

    @property
    def configuration(self) -> Mapping[str, Any]:
        """The configuration of the pre-training.

        Raises:
            ValueError: There is none, or more than one.
        """
        (chosen,) = self.pretraining["configurations"].values()
        return cast("Mapping[str, Any]", chosen)


def plan_files(path: Path) -> list[Path]:
    """The adaptation_plan.json of a weights file: in its folder, else in the folder above fold_X; empty if none."""
    folders = [path.parent, *([path.parent.parent] if path.parent.name.startswith("fold_") else [])]
    return [file for folder in folders if (file := folder / FILE).is_file()][:1]


def adaptation_plan(content: object, weights: Mapping[str, Tensor], path: Path) -> AdaptationPlan | None:
    """The adaptation plan of a checkpoint, from the file itself or else from adaptation_plan.json; None without one.

    Args:
        content: The content of the file.
        weights: Its state dict; a plan in another file is only used if the encoder that it names is here.
        path: The file.

    Raises:
        InputError: The plan is not complete, or names a network that is not known.
    """
    own = content.get(KEY) if isinstance(content, Mapping) else None
    files = [] if own is not None else plan_files(path)
    if own is None and not files:
        return None
    where = f"{path}: {KEY}" if own is not None else str(files[0])
    stated = own if own is not None else read_json(files[0])
    with reported_as(f"{where} is not a complete adaptation plan of nnssl"):
        trainer = content.get("trainer_name") if isinstance(content, Mapping) else None
        plan = _parsed(stated, where, str(trainer or stated.get("trainer_name") or ""))
    if any(is_within(name, [plan.encoder]) for name in weights):
        return plan
    if files:
        return None
    raise InputError(f"{where}: key_to_encoder is {plan.encoder}, which no tensor of the file has in its name")


def _parsed(stated: Mapping[str, Any], where: str, trainer: str) -> AdaptationPlan:
    parts = stated["architecture_plans"]
    name, known = parts["arch_class_name"], (*FIXED, *UNETS, *PRIMUS)
    if name not in known:
        raise InputError(f"{where}: arch_class_name must be one of {', '.join(known)}, got {name}")
    if name in UNETS and not isinstance(parts.get("arch_kwargs"), Mapping):
        raise InputError(f"{where}: arch_kwargs must hold the settings of {name}, got {parts.get('arch_kwargs')!r}")
    patch = stated.get("recommended_downstream_patchsize")
    return AdaptationPlan(
        where=where,
        network=name,
        arguments=parts["arch_kwargs"] if name in UNETS else None,
        imported=tuple(parts.get("arch_kwargs_requiring_import") or ()),
        encoder=str(stated["key_to_encoder"]),
        stem=str(stated["key_to_stem"]),
        patch=tuple(int(side) for side in patch) if patch else None,
        pretraining=stated.get("pretrain_plan") or {},
        trainer=trainer,
    )


def pretrained_model(
    name: str, plan: AdaptationPlan, state: Unwrapped, path: Path, *, given: Mapping[str, object], patch: object = None
) -> Model:
    """Build the network of an adaptation plan with the weights of its checkpoint.

    Args:
        name: The source's name.
        plan: The plan.
        state: The weights.
        path: The checkpoint.
        given: The user's settings, which override those of the plan.
        patch: (3,) voxels of the training windows, where the user gives them.

    Raises:
        InputError: The plan's classes are refused, or the weights do not match.
    """
    build = _primus if plan.network in PRIMUS else _unet
    with reported_as(f"cannot build {plan.network} as {plan.where} says"):
        built = build(name, plan, state.weights, {key: _plain(value) for key, value in given.items()})
    preparation, unknown = _preparation(plan)
    recognised = f"recognised as {plan.network} by its adaptation plan"
    return built.fit.model(
        name,
        built.arch,
        facts={"kind": "nnssl", "path": str(path), "trainer": plan.trainer},
        assumed=built.assumed,
        preparation=preparation,
        patch=built.arch.size or cast("Sequence[int] | None", patch) or plan.patch,
        notes=(*state.notes, recognised, *built.notes, *([unknown] if unknown else [])),
    )


@dataclass(frozen=True)
class Built:
    """A network, the weights that fit it, notes, and assumed settings."""

    arch: Architecture
    fit: Fit
    notes: tuple[str, ...]
    assumed: Mapping[str, object]


def _unet(name: str, plan: AdaptationPlan, weights: Mapping[str, Tensor], given: Mapping[str, object]) -> Built:
    """A U-Net with its decoder, or with the encoder's stages as taps if the pre-training has no decoder of its kind."""
    arch = _unet_architecture(plan, given)
    own, copies = trained_copies(_own_names(weights, plan, "encoder.stages", "encoder.stem"))
    notes = []
    if copies:
        notes.append(f"conv and norm differ from all_modules in {copies} tensors, as in SparK's checkpoints: those of "
                     "all_modules are the trained ones and are taken")  # fmt: skip
    if plan.network != NO_SKIPS and any(name.startswith("decoder.stages.") for name in own):
        fit = replace(fitted(arch, own, source=name, prefix=""), head=False)
        channels = "1 channel" if fit.classes == 1 else f"{fit.classes} channels"
        notes.append(f"its output ({channels}) is that of the pre-training, no segmentation head")
        return Built(arch, fit, tuple(notes), {})
    own = {at: tensor for at, tensor in own.items() if not at.startswith("decoder.")}
    stages = range(sum(at.startswith("encoder.stages.") for at in dict(_modules(arch))))
    arch = replace(arch, taps=tuple(f"encoder.stages.{stage}" for stage in reversed(stages[:STAGES])))
    fit = replace(fitted(arch, own | _untrained_decoder(arch, own), source=name, prefix=""), head=False)
    trainer = f" ({plan.trainer})" if plan.trainer else ""
    notes.append(
        f"pre-trained without a decoder for segmentation{trainer}: the features are those of the encoder's "
        f"{len(arch.taps)} finest stages; decoder and head are drawn from seed 0, for fine-tuning only"
    )
    return Built(arch, fit, tuple(notes), {})


def _own_names(weights: Mapping[str, Tensor], plan: AdaptationPlan, encoder: str, stem: str) -> dict[str, Tensor]:
    """The tensors with the names of the network: its encoder and stem as the plan says, the others by their prefix."""
    start = plan.encoder.removesuffix(encoder) if plan.encoder.endswith(encoder) else ""
    own = {}
    for name, tensor in weights.items():
        if is_within(name, [plan.encoder]):
            own[encoder + name.removeprefix(plan.encoder)] = tensor
        elif is_within(name, [plan.stem]):
            own[stem + name.removeprefix(plan.stem)] = tensor
        else:
            own[name.removeprefix(start)] = tensor
    return own


def trained_copies(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int]:
    """Replace `conv` and `norm` of each block by `all_modules`, with which the block computes.

    Returns:
        The tensors, and how many were replaced by different ones.

    Example:
        >>> block = {"a.conv.weight": torch.zeros(1), "a.all_modules.0.weight": torch.ones(1)}
        >>> trained_copies(block)[0]["a.conv.weight"], trained_copies(block)[1]
        (tensor([1.]), 1)
    """
    changed = {}
    for name, tensor in tensors.items():
        match = re.fullmatch(r"(.+)\.(conv|norm)\.(\w+)", name)
        computed = tensors.get(f"{match[1]}.all_modules.{int(match[2] == 'norm')}.{match[3]}") if match else None
        if computed is not None and computed.data_ptr() != tensor.data_ptr() and not torch.equal(computed, tensor):
            changed[name] = computed
    return {**tensors, **changed}, len(changed)


def _unet_architecture(plan: AdaptationPlan, given: Mapping[str, object]) -> Architecture:
    stated = {**(RESENC_L if plan.arguments is None else plan.arguments), **given}
    arguments = literal(stated, where=plan.where)
    classes = {*IMPORTED, *plan.imported} & {name for name, value in arguments.items() if value is not None}
    for name in sorted(classes):
        module_class(str(arguments[name]), within=LAYERS, where=f"{plan.where}: {name}")
    cls = plan.network if plan.network in UNETS else UNETS[0]
    dims = 2 if str(arguments["conv_op"]).endswith("2d") else 3
    network = partial(adapted_unet, cls, arguments, tuple(sorted(classes)))
    return planned_unet(f"nnssl_{plan.network.lower()}", network, arguments, dims=dims)


def adapted_unet(
    cls: str, arguments: Mapping[str, Any], classes: Sequence[str], *, in_channels: int, out_channels: int
) -> nn.Module:
    """Build a U-Net by its class's name and arguments, of which `classes` are names of layers.

    Raises:
        InputError: A class is not of the network package, or a layer not of torch.nn.
    """
    network = module_class(f"{PACKAGE}.architectures.unet.{cls}", within=[PACKAGE], where="the adaptation plan")
    layers = {name: module_class(arguments[name], within=LAYERS, where=name) for name in classes}
    own = {**arguments, **layers, "input_channels": in_channels, "num_classes": out_channels, "deep_supervision": False}
    made = network(**own)
    made.apply(cast("Any", made).initialize)
    return made


def _modules(arch: Architecture) -> Mapping[str, object]:
    shapes = shapes_of(arch.network, channels=1, classes=HEAD_CLASSES)
    return {".".join(name.split(".")[:3]): shape for name, shape in shapes.items()}


def _untrained_decoder(arch: Architecture, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a decoder drawn from seed 0, without its second names of the encoder."""
    shapes = shapes_of(arch.network, channels=1, classes=HEAD_CLASSES)
    first = next(name for name, shape in shapes.items() if len(shape) > 1)
    channels = own[first].shape[1] if first in own else 1  # a missing one is reported when all are matched
    drawn = initial(arch.network, channels=channels, classes=HEAD_CLASSES, seed=0).state_dict()
    return {
        name: tensor for name, tensor in drawn.items()
        if name.startswith("decoder.") and not name.startswith("decoder.encoder.")
    }  # fmt: skip


def _primus(name: str, plan: AdaptationPlan, weights: Mapping[str, Tensor], given: Mapping[str, object]) -> Built:
    """Primus without the pre-training's output, decoder and projection heads."""
    own = _own_names(weights, plan, "eva", "down_projection")
    is_autoencoder = any(re.fullmatch(AUTOENCODER, at) for at in own)
    left = [at for at in own if re.fullmatch(AUTOENCODER, at) or at.startswith("up_projection.")]
    own = {at: tensor for at, tensor in own.items() if at not in left}
    reading = read_primus(own)
    tokens, steps = own["eva.pos_embed"].shape[1], reading.shown["patch_size"]
    sizes = [size for size in _sizes(plan) if math.prod(size) == tokens * math.prod(steps)]
    shown = {**reading.shown, "swap_axes": True, **({"img_size": sizes[0]} if sizes else {}), **given}
    assumed = {at: value for at, value in reading.assumed.items() if at not in shown}
    if missing := [at for at, value in assumed.items() if value is None]:
        raise InputError(
            f"source {name}: no tensor shows {missing[0]} of Primus; give it as settings.{missing[0]}: "
            f"{by_setting('settings')}"
        )
    arguments = assumed | shown
    arch = primus_parts(f"nnssl_{plan.network.lower()}", partial(Primus, **arguments), arguments)
    fit = fitted(arch, own, source=name, prefix="", allowed=Allowed(idle="mask_token"))
    output = RESTORED if is_autoencoder else "its output is that of the pre-training, no segmentation head"
    stated = f"assumed, since no tensor shows it: {assumptions(assumed)}" if assumed else ""
    notes = [*([output] if left else []), SWAPPED, *([stated] if stated else [])]
    return Built(arch, fit, tuple(notes), assumed)


def _plain(value: object) -> object:
    """Lists and dicts in place of the nodes of a config."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, Sequence) and not isinstance(value, str) else value


def _sizes(plan: AdaptationPlan) -> list[tuple[int, ...]]:
    """The patch of the pre-training, then the recommended one, as far as they are known."""
    try:
        pretraining = tuple(int(side) for side in plan.configuration["patch_size"])
    except BROKEN:
        pretraining = ()
    return [size for size in (pretraining, plan.patch) if size]


def _preparation(plan: AdaptationPlan) -> tuple[Preparation | None, str]:
    """The preparation of the pre-training, or None and a note with the reason."""
    try:
        chosen = plan.configuration
        named = zip(chosen["normalization_schemes"], chosen["use_mask_for_norm"], strict=True)
        spacing = chosen["spacing"]
        return Preparation(
            normalisation=ChannelSchemes(tuple(Scheme(name, bool(masked)) for name, masked in named)),
            spacing=None if spacing is None or None in spacing else tuple(float(mm) for mm in spacing),
            transpose=tuple(int(axis) for axis in plan.pretraining["transpose_forward"]),
            crop=True,
            resampling=Resampling(chosen["resampling_fn_data"], settings(chosen["resampling_fn_data_kwargs"])),
        ), ""
    except BROKEN as error:
        reason = one_line(error) if isinstance(error, InputError) else with_class(error)
        return None, f"the pre-training's spacing and intensities are not known: {reason}"
