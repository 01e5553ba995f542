"""nnU-Net's plans of a dataset: plan, move between datasets, adapt to a preparation, preprocess."""

import copy
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from benchmark.data.preprocessing.normalise import ChannelSchemes, Normalisation, Scheme
from benchmark.data.preprocessing.planning import Planner, Plans, fingerprint, plan_dataset, read_plans
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.errors import InputError
from benchmark.training.nnunet.dataset import NnunetDataset, NnunetSpace, short_hash


def plan(space: NnunetSpace, dataset: NnunetDataset, planner: Planner) -> Plans:
    """Plan a dataset with nnU-Net, once, and return the plans.

    `space` must be entered.
    """
    return read_plans(plan_dataset(dataset.name, space.preprocessed, planner, processes=space.processes))


def move(space: NnunetSpace, plans: Plans, source: NnunetDataset, target: NnunetDataset) -> Plans:
    """Move the plans of `source` to `target`, as nnU-Net's maintainers advise before pre-training.

    `space` must be entered.
    """
    from nnunetv2.experiment_planning.plans_for_pretraining.move_plans_between_datasets import (
        move_plans_between_datasets,
    )

    name = f"{plans['plans_name']}_from_{source.name.rpartition('_')[2]}"
    folder = fingerprint(target.name, space.preprocessed, processes=space.processes)
    with FileLock(f"{folder}.lock"):
        shutil.copyfile(space.raw / target.name / "dataset.json", folder / "dataset.json")
        _write(plans, space.preprocessed / source.name)
        move_plans_between_datasets(source.name, target.name, plans["plans_name"], name)
        return read_plans(folder / f"{name}.json")


def adapt(
    plans: Plans,
    configuration: str,
    preparation: Preparation,
    *,
    patch: Sequence[int] | None = None,
    batch: int | None = None,
    features: Sequence[int] | None = None,
) -> Plans:
    """Adapt plans to the preparation of a pair; what it leaves open stays as planned, and so does what is None.

    nnU-Net always crops to nonzero voxels.

    Args:
        plans: nnU-Net's plans.
        configuration: The configuration to adapt, such as 3d_fullres.
        preparation: Intensities, axes, spacing and resampling.
        patch: Voxels of a patch, in the order of the transposed axes.
        batch: Patches per step.
        features: Channels of the network's stages, whose number is reduced to match.
    """
    made = copy.deepcopy(plans)
    chosen = made["configurations"][configuration]
    _follow(made, chosen, preparation)
    seen = json.dumps([made["transpose_forward"], made["foreground_intensity_properties_per_channel"], *[
        chosen[key] for key in sorted(chosen) if key not in {"architecture", "batch_size", "batch_dice", "patch_size",
                                                             "data_identifier", "median_image_size_in_voxels"}
    ]])  # fmt: skip
    chosen["data_identifier"] = f"{configuration}_{short_hash(seen)}"  # equal preprocessing is shared
    chosen["patch_size"] = list(patch or chosen["patch_size"])
    chosen["batch_size"] = batch or chosen["batch_size"]
    if features:
        _narrow(chosen["architecture"]["arch_kwargs"], features)
    made["plans_name"] += f"_{short_hash(json.dumps([made['configurations'][configuration], seen]))}"
    return made


def preprocess(space: NnunetSpace, dataset: NnunetDataset, plans: Plans, configuration: str) -> None:
    """Preprocess a dataset with a configuration of its plans, unless an equal preprocessing exists."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    folder = space.preprocessed / dataset.name
    identifier = plans["configurations"][configuration]["data_identifier"]
    done = folder / f"{identifier}.done"
    with FileLock(f"{folder}.lock"):
        _write(plans, folder)
        if done.is_file():
            return
        raw = space.raw / dataset.name
        shutil.copyfile(raw / "dataset.json", folder / "dataset.json")
        shutil.copytree(raw / "labelsTr", folder / "gt_segmentations", dirs_exist_ok=True)
        splits = [{"train": list(train), "val": list(held_out)} for train, held_out in dataset.splits]
        (folder / "splits_final.json").write_text(json.dumps(splits), encoding="utf-8")
        DefaultPreprocessor(verbose=False).run(dataset.name, configuration, plans["plans_name"], space.processes)
        done.touch()


def _follow(plans: Plans, chosen: Plans, preparation: Preparation) -> None:
    order = preparation.transpose or _stored_order(plans)
    chosen["spacing"] = list(preparation.spacing or _planned_spacing(plans, chosen, order))
    plans["transpose_forward"] = list(order)
    plans["transpose_backward"] = [order.index(axis) for axis in range(3)]
    schemes = _schemes(preparation.normalisation, len(chosen["normalization_schemes"]))
    chosen["normalization_schemes"] = [scheme.name for scheme in schemes]
    chosen["use_mask_for_norm"] = [scheme.masked for scheme in schemes]
    statistics = plans["foreground_intensity_properties_per_channel"]
    for channel, scheme in enumerate(schemes):
        if scheme.name == "CTNormalization":
            statistics[str(channel)] |= {"mean": scheme.mean, "std": scheme.std, "percentile_00_5": scheme.low,
                                         "percentile_99_5": scheme.high}  # fmt: skip
    resampling = preparation.resampling
    chosen["resampling_fn_data"], chosen["resampling_fn_seg"] = resampling.image, resampling.labels
    chosen["resampling_fn_data_kwargs"] = dict(resampling.image_settings)
    chosen["resampling_fn_seg_kwargs"] = dict(resampling.labels_settings)


def _stored_order(plans: Plans) -> Sequence[int]:
    """Axis order of networks that are not nnU-Net's: (X, Y, Z), or unchanged for 2D images."""
    shape = dict(zip(plans["transpose_forward"], plans["original_median_shape_after_transp"], strict=True))
    return (0, 1, 2) if shape[0] == 1 else (2, 1, 0)


def _planned_spacing(plans: Plans, chosen: Plans, order: Sequence[int]) -> list[float]:
    """Planned spacing in another axis order; for an axis that a 2D plan does not resample, the median spacing."""
    planned = plans["transpose_forward"]
    spacing = dict(zip(planned, plans["original_median_spacing_after_transp"], strict=True))
    count = len(chosen["spacing"])
    spacing |= dict(zip(planned[-count:], chosen["spacing"], strict=True))
    return [float(spacing[axis]) for axis in order[-count:]]


def _schemes(normalisation: Normalisation | ChannelSchemes, channels: int) -> Sequence[Scheme]:
    if isinstance(normalisation, ChannelSchemes):
        schemes = normalisation.schemes
        return schemes if len(schemes) == channels else schemes[:1] * channels
    return [normalisation.scheme] * channels


def _narrow(arguments: Plans, features: Sequence[int]) -> None:
    """Reduce the stages of the network and set their widths; every list by stage is shortened to match."""
    if len(features) > arguments["n_stages"]:
        raise InputError(f"features must list at most {arguments['n_stages']} planned stages, got {len(features)}")
    for key, value in arguments.items():
        if isinstance(value, list):
            arguments[key] = value[: len(features) - (1 if "decoder" in key else 0)]
    arguments["features_per_stage"] = list(features)
    arguments["n_stages"] = len(features)


def _write(plans: Plans, folder: Path) -> None:
    (folder / f"{plans['plans_name']}.json").write_text(json.dumps(plans, indent=1), encoding="utf-8")
