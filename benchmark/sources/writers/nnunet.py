"""Write a model as a results folder of nnU-Net v2, which `nnUNetv2_predict` and nnU-Net's predictor take.

The folder has plans.json, dataset.json and fold_0/checkpoint_final.pth, as nnU-Net's trainer leaves them. nnU-Net then
prepares a volume as `Preparation` does and predicts classes: 0 is the background, 1 to k - 1 follow. What differs from
`benchmark.training.prediction`: nnU-Net's windows start at other voxels and overlap by a half, logits are added in
float16, a volume that is smaller than a window is padded with zeros and not with its edges, and logits are brought back
on the stored grid.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.data.preprocessing.normalise import ChannelSchemes, Normalisation, Scheme
from benchmark.data.preprocessing.planning import Plans
from benchmark.data.preprocessing.preparation import Preparation, Resampling, settings
from benchmark.errors import InputError, SkipPair
from benchmark.sources.model import Model
from benchmark.sources.readers.network_description import ARCHITECTURE, describe_network
from benchmark.sources.readers.nnssl import PACKAGE
from benchmark.sources.readers.nnunet import NnunetSource
from benchmark.storage.files import partial_folder, write_text

TRAINER, PLANS = "nnUNetTrainer", "nnUNetPlans"
CONFIGURATIONS = {2: "2d", 3: "3d_fullres"}
AS_STORED = Resampling("no_resampling_hack", (), "no_resampling_hack", ())  # volumes stay as stored
LINEAR = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}  # of logits, as nnU-Net's planner has it
PER_VOLUME_SCHEMES = ("ZScoreNormalization", "RescaleTo01Normalization")  # schemes with statistics of each volume
RESERVED_NAMES = ("background", "ignore")  # names with a meaning in dataset.json
BATCH = 2  # of a training that starts from these plans


class NotInPlansError(InputError):
    """What nnU-Net's files cannot express; the message is the reason."""


@dataclass(frozen=True)
class ResultsFolder:
    """A results folder, or why there is none.

    Attributes:
        path: The folder `Trainer__Plans__configuration`; None if it is not written.
        reason: Why it is not written, in one line; empty if it is.
        notes: How its predictions may differ, one line each.
    """

    path: Path | None
    reason: str = ""
    notes: tuple[str, ...] = ()


def write_results_folder(
    model: Model,
    folder: Path,
    *,
    channel_names: Sequence[str] = (),
    ending: str = ".nii.gz",
    mirroring: Sequence[int] = (),
    cases: int = 0,
) -> ResultsFolder:
    """Write a model as a results folder, atomically; it is read back and compared before it replaces the folder.

    Args:
        model: With its preparation, patch and labels 0 to k - 1.
        folder: nnU-Net's folder of the dataset, `DatasetNNN_NAME`.
        channel_names: The names of the input channels; by default CT, or a number.
        ending: The ending of the image files that will be predicted.
        mirroring: The axes along which nnU-Net may mirror while it predicts: those that were mirrored in training.
        cases: The number of training cases.

    Raises:
        InputError: The folder cannot be written, or is not read back as the same model.
    """
    try:
        _architecture(model)  # checked first: the most informative reason
        expected = nnunet_preparation(model)
        plans = _plans(model, expected, folder.name, ending)
        dataset = _dataset(model, expected, channel_names, ending, cases)
    except NotInPlansError as error:
        return ResultsFolder(None, str(error))
    configuration = CONFIGURATIONS[model.arch.dims]
    place = folder / f"{TRAINER}__{PLANS}__{configuration}"
    weights = _weights(model)
    checkpoint = {
        "network_weights": weights,
        "init_args": {"plans": plans, "configuration": configuration, "fold": 0, "dataset_json": dataset},
        "trainer_name": TRAINER,
        "inference_allowed_mirroring_axes": tuple(mirroring) or None,
    }
    try:
        with partial_folder(place) as partial:
            write_text(partial / "plans.json", json.dumps(plans, indent=1))
            write_text(partial / "dataset.json", json.dumps(dataset, indent=1))
            (partial / "fold_0").mkdir()
            torch.save(checkpoint, partial / "fold_0" / "checkpoint_final.pth")
            _compare(NnunetSource(model.name, partial).open(), model, expected, weights)
    except (OSError, RuntimeError) as error:  # torch reports a full disk by a RuntimeError
        raise InputError(f"cannot write {place}: {error}") from error
    box = "nnU-Net predicts background outside the box of a volume's nonzero voxels, to which it crops"
    cropped = model.preparation is not None and model.preparation.crop
    return ResultsFolder(place, notes=() if cropped else (box,))


def nnunet_preparation(model: Model) -> Preparation:
    """The preparation of a model as nnU-Net does it: with a scheme for each channel, with axes, and cropped.

    Raises:
        NotInPlansError: nnU-Net prepares volumes in another way.
    """
    own, channels = model.preparation, model.channels
    if own is None or own.unknown:
        raise NotInPlansError("how its volumes are prepared is not known")
    if own.orientation:
        raise NotInPlansError(f"its volumes are turned to {own.orientation}, and nnU-Net takes them as they are stored")
    try:
        schemes = _schemes(own.normalisation, channels)
    except SkipPair as error:
        raise NotInPlansError(str(error)) from error
    volume = [scheme.name for scheme in schemes if scheme.name in PER_VOLUME_SCHEMES and not scheme.masked]
    if volume and not own.crop:
        raise NotInPlansError(
            f"its {volume[0]} is of whole volumes, and nnU-Net's is of the box of a volume's nonzero voxels"
        )
    axes = own.transpose or ((0, 1, 2) if model.arch.dims == 2 else (2, 1, 0))
    resampling = _sorted(own.resampling) if own.spacing else AS_STORED
    return replace(own, normalisation=ChannelSchemes(schemes), transpose=axes, crop=True, resampling=resampling)


def _schemes(normalisation: Normalisation | ChannelSchemes, channels: int) -> tuple[Scheme, ...]:
    if isinstance(normalisation, ChannelSchemes):
        own = normalisation.of_channels(channels)
        return tuple(item if item.name == "CTNormalization" else Scheme(item.name, item.masked) for item in own)
    return (normalisation.scheme,) * channels


def _sorted(resampling: Resampling) -> Resampling:
    """The functions with their arguments in the order in which they are read."""
    image, labels = (settings(dict(pairs)) for pairs in (resampling.image_settings, resampling.labels_settings))
    return replace(resampling, image_settings=image, labels_settings=labels)


def _plans(model: Model, preparation: Preparation, dataset: str, ending: str) -> Plans:
    if model.patch is None:
        raise NotInPlansError("the size of its windows is not known")
    assert isinstance(preparation.normalisation, ChannelSchemes), "nnunet_preparation makes them"
    dims, schemes, resampling = model.arch.dims, preparation.normalisation.schemes, preparation.resampling
    axes = list(preparation.transpose or ())
    spacing = list(preparation.spacing or [1.0] * dims)
    patch = list(model.patch)[-dims:]
    image = dict(resampling.image_settings)
    logits = LINEAR if resampling.image == Resampling().image else image
    chosen = {
        "data_identifier": f"{PLANS}_{CONFIGURATIONS[dims]}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": BATCH,
        "patch_size": patch,
        "median_image_size_in_voxels": [float(side) for side in patch],
        "spacing": spacing,
        "normalization_schemes": [scheme.name for scheme in schemes],
        "use_mask_for_norm": [scheme.masked for scheme in schemes],
        "resampling_fn_data": resampling.image,
        "resampling_fn_seg": resampling.labels,
        "resampling_fn_data_kwargs": image,
        "resampling_fn_seg_kwargs": dict(resampling.labels_settings),
        "resampling_fn_probabilities": resampling.image,
        "resampling_fn_probabilities_kwargs": logits,
        "architecture": _architecture(model),
        "batch_dice": False,
    }
    return {
        "dataset_name": dataset,
        "plans_name": PLANS,
        "original_median_spacing_after_transp": [*[1.0] * (3 - len(spacing)), *spacing],
        "original_median_shape_after_transp": [*[1] * (3 - dims), *patch],
        "image_reader_writer": _reader(ending),
        "transpose_forward": axes,
        "transpose_backward": [axes.index(axis) for axis in range(3)],
        "configurations": {CONFIGURATIONS[dims]: chosen},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            str(channel): _statistics(scheme) for channel, scheme in enumerate(schemes)
        },
    }


def _architecture(model: Model) -> Mapping[str, Any]:
    """`architecture` of plans.json."""
    description = describe_network(model.arch.network)
    if "plans" in description and "trainer" not in description:
        return dict(description["plans"])
    if "adaptation_plan" in description:
        cls = f"{PACKAGE}.architectures.unet.{description['adaptation_plan']}"
        return dict(zip(ARCHITECTURE, (cls, description["settings"], description["layers"]), strict=True))
    raise NotInPlansError(f"its network ({model.arch.name}) is not one that nnU-Net's plans describe")


def _statistics(scheme: Scheme) -> dict[str, float]:
    """Intensities of the foreground, of which only those of CT are read."""
    mean, std = scheme.mean or 0.0, 1.0 if scheme.std is None else scheme.std
    low, high = scheme.low or 0.0, scheme.high or 0.0
    return {"mean": mean, "median": mean, "std": std, "min": low, "max": high, "percentile_00_5": low,
            "percentile_99_5": high}  # fmt: skip


def _reader(ending: str) -> str:
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_file_ending

    try:
        return str(determine_reader_writer_from_file_ending(ending, verbose=False).__name__)
    except RuntimeError as error:
        raise NotInPlansError(f"nnU-Net reads no files that end in {ending}") from error


def _dataset(
    model: Model, preparation: Preparation, channel_names: Sequence[str], ending: str, cases: int
) -> dict[str, object]:
    """The content of dataset.json.

    Raises:
        NotInPlansError: The labels are not 0 to k - 1, or two have one name.
    """
    names = [name for _, name in sorted(model.labels.items())][1:]
    if sorted(model.labels) != list(range(model.classes)):
        raise NotInPlansError(f"its labels must be 0 to {model.classes - 1}, got {sorted(model.labels)}")
    if wrong := [name for name in names if names.count(name) > 1 or name in RESERVED_NAMES]:
        raise NotInPlansError(f"nnU-Net cannot have a class named {wrong[0]} among {', '.join(names)}")
    assert isinstance(preparation.normalisation, ChannelSchemes), "nnunet_preparation makes them"
    named = [
        "CT" if scheme.name == "CTNormalization" else str(at)
        for at, scheme in enumerate(preparation.normalisation.schemes)
    ]
    channels = list(channel_names) if len(channel_names) == model.channels else named
    return {
        "channel_names": {str(at): name for at, name in enumerate(channels)},
        "labels": {"background": 0} | {name: value for value, name in enumerate(names, 1)},
        "numTraining": cases,
        "file_ending": ending,
    }


def _weights(model: Model) -> dict[str, Tensor]:
    """The state dict on the CPU; tensors under several names are stored once."""
    once: dict[object, Tensor] = {}
    weights = {}
    for name, tensor in model.network().state_dict().items():
        place = tensor.data_ptr(), tuple(tensor.shape), tensor.stride()
        weights[name] = once.setdefault(place, tensor.detach().contiguous())
    return weights


def _compare(read: Model, model: Model, expected: Preparation, weights: Mapping[str, Tensor]) -> None:
    """Refuse a folder that is read as another model, or with other values of its weights.

    Raises:
        InputError: A part differs.
    """
    labels = {**model.labels, 0: RESERVED_NAMES[0]}
    pairs: dict[str, tuple[object, object]] = {
        "tensors": (list(read.weights), list(weights)),
        "channels": (read.channels, model.channels),
        "labels": (read.labels, labels),
        "preparation": (read.preparation, expected),
        "patch": (read.patch, model.patch),
    }
    for name, (found, wanted) in pairs.items():
        if found != wanted:
            raise InputError(f"cannot write {model.name} for nnU-Net: its {name} would be {found}, not {wanted}")
    if changed := [name for name, tensor in weights.items() if not torch.equal(read.weights[name], tensor)]:
        raise InputError(f"cannot write {model.name} for nnU-Net: the values of {changed[0]} would change")
