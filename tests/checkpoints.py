"""Tiny checkpoints of every kind that a user brings, their weights drawn at random."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from monai.networks import nets
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from safetensors.torch import save_file
from torch import nn

from benchmark.sources.weights.checkpoint import save_checkpoint

CLASSES = 3
LABELS = {"background": 0, "liver": 1, "tumour": 2}
SMALL = {
    "DynUNet": {
        "kernel_size": [3, 3, 3],
        "strides": [1, 2, 2],
        "upsample_kernel_size": [2, 2],
        "filters": [4, 8, 16],
    },
    "UNet": {"channels": [4, 8, 16], "strides": [2, 2], "num_res_units": 1},
    "UNETR": {"img_size": 32, "feature_size": 4, "hidden_size": 64, "mlp_dim": 64, "num_heads": 1},
    "SwinUNETR": {"feature_size": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1], "window_size": 3},
    "SegResNet": {"init_filters": 8, "blocks_down": [1, 1, 1], "blocks_up": [1, 1]},
    "BasicUNet": {"features": [4, 4, 8, 8, 16, 4]},
    "VNet": {},
}
UNETS = {"PlainConvUNet": PlainConvUNet, "ResidualEncoderUNet": ResidualEncoderUNet}


def small_network(name: str, *, dims: int = 3, channels: int = 1, classes: int = CLASSES, seed: int = 0) -> nn.Module:
    """One of MONAI's networks, as small as it gets."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = getattr(nets, name)(spatial_dims=dims, in_channels=channels, out_channels=classes, **SMALL[name])
    return made.eval()


def write_weights(network: nn.Module, path: Path) -> Path:
    """A state dict: bare, or as its suffix is usual, under Lightning's key and prefix in a .ckpt."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = network.state_dict()
    if path.suffix == ".safetensors":
        save_file({name: tensor.clone().contiguous() for name, tensor in weights.items()}, path)
    elif path.suffix == ".ckpt":
        named = {f"net.{name}": tensor for name, tensor in weights.items()}
        torch.save({"epoch": 3, "state_dict": named, "lr_schedulers": []}, path)
    elif path.suffix == ".pth":
        torch.save({"model": {f"module.{name}": tensor for name, tensor in weights.items()}, "epoch": 3}, path)
    else:
        torch.save(weights, path)
    return path


def plans(dims: int = 3, *, cls: str = "PlainConvUNet", stages: int = 3, patch: int = 32) -> dict:
    """What nnU-Net's planner writes, for a tiny network."""
    blocks = "n_conv_per_stage" if cls == "PlainConvUNet" else "n_blocks_per_stage"
    name = {2: "2d", 3: "3d_fullres"}[dims]
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": f"nnUNetPlans_{name}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [patch] * dims,
        "median_image_size_in_voxels": [40.0] * dims,
        "spacing": [1.0] * dims,
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg_kwargs": resampling | {"is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": resampling | {"order": 1},
        "architecture": {
            "network_class_name": f"dynamic_network_architectures.architectures.unet.{cls}",
            "arch_kwargs": {
                "n_stages": stages,
                "features_per_stage": [min(4 * 2**i, 16) for i in range(stages)],
                "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
                "kernel_sizes": [[3] * dims] * stages,
                "strides": [[1] * dims, *[[2] * dims] * (stages - 1)],
                blocks: [1] * stages,
                "n_conv_per_stage_decoder": [1] * (stages - 1),
                "conv_bias": True,
                "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
                "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": True,
    }
    intensities = {"max": 300.0, "mean": 50.0, "median": 50.0, "min": -100.0, "percentile_00_5": -90.0,
                   "percentile_99_5": 280.0, "std": 60.0}  # fmt: skip
    return {
        "dataset_name": "Dataset501_Made",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
        "original_median_shape_after_transp": [40, 40, 40],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {name: configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": intensities},
    }


def plans_network(content: dict, *, classes: int = CLASSES, seed: int = 0) -> nn.Module:
    """The network of a plan, as nnU-Net builds it."""
    (configuration,) = content["configurations"].values()
    parts = configuration["architecture"]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = get_network_from_plans(parts["network_class_name"], parts["arch_kwargs"], parts["_kw_requires_import"],
                                      1, classes, True, deep_supervision=False)  # fmt: skip
    return made.eval()


def write_nnunet(folder: Path, *, dims: int = 3, cls: str = "PlainConvUNet", fold: str = "0", stages: int = 3) -> Path:
    """A results folder such as nnU-Net's trainer leaves it, below `folder`, with all that its checkpoint holds."""
    content = plans(dims, cls=cls, stages=stages)
    (configuration,) = content["configurations"]
    place = folder / f"nnUNetTrainer__nnUNetPlans__{configuration}"
    (place / f"fold_{fold}").mkdir(parents=True, exist_ok=True)
    dataset = {"channel_names": {"0": "CT"}, "labels": LABELS, "numTraining": 12, "file_ending": ".nii.gz"}
    (place / "plans.json").write_text(json.dumps(content), encoding="utf-8")
    (place / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    network = plans_network(content)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.99, nesterov=True)
    checkpoint = {
        "network_weights": network.state_dict(),
        "optimizer_state": optimiser.state_dict(),
        "grad_scaler_state": None,
        "logging": {"mean_fg_dice": [np.float64(0.5)], "ema_fg_dice": [np.float64(0.5)], "dice_per_class_or_region":
                    [[np.float32(0.5)]], "train_losses": [np.float32(0.1)], "lrs": [0.01]},
        "_best_ema": np.float64(0.5),
        "current_epoch": 2,
        "init_args": {"plans": content, "configuration": configuration, "fold": int(fold) if fold.isdigit() else fold,
                      "dataset_json": dataset, "device": torch.device("cpu")},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": tuple(range(dims)),
    }  # fmt: skip
    torch.save(checkpoint, place / f"fold_{fold}" / "checkpoint_final.pth")
    return place


def write_bundle(folder: Path, *, name: str = "UNet", dims: int = 3) -> Path:
    """A MONAI bundle: metadata, a training config that names the network, weights."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    network = {"_target_": name, "spatial_dims": dims, "in_channels": 1, "out_channels": CLASSES, **SMALL[name]}
    image = {"type": "image", "num_channels": 1, "spatial_shape": [32] * dims}
    pred = {"type": "image", "num_channels": CLASSES, "spatial_shape": [32] * dims,
            "channel_def": {str(value): label for label, value in LABELS.items()}}  # fmt: skip
    metadata = {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema.json",
        "version": "0.1.0",
        "monai_version": "1.6.1",
        "task": "a made task",
        "description": "random weights",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": pred}},
    }
    train = {
        "imports": ["$import glob"],
        "bundle_root": ".",
        "device": "$torch.device('cpu')",
        "network_def": network,
        "network": "$@network_def.to(@device)",
    }
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    (folder / "configs" / "train.json").write_text(json.dumps(train), encoding="utf-8")
    torch.save(small_network(name, dims=dims).state_dict(), folder / "models" / "model.pt")
    return folder


def write_file(folder: Path) -> Path:
    """A folder as this project saves its sources: initial weights of a DynUNet, which is what scratch is."""
    settings = SMALL["DynUNet"]
    arch = {
        "_target_": "benchmark.sources.networks.architecture.Architecture",
        "name": "dynunet",
        "width": 4,
        "network": {"_target_": "monai.networks.nets.DynUNet", "_partial_": True, "spatial_dims": 3, **settings},
        "taps": ["upsamples.0", "upsamples.1"],
        "decoder": ["upsamples"],
        "last": ["upsamples.1"],
        "head": ["output_block"],
        "divisor": 4,
        "least": 2,
    }
    network = small_network("DynUNet", classes=2)
    facts = {"name": folder.name, "architecture": arch, "channels": 1, "classes": 2, "labels": {}}
    facts |= {"preparation": None, "config": {"budget": {"patch": [32, 32, 32]}}}
    save_checkpoint(network, facts, folder)
    return folder


def write_pool(folder: Path) -> dict[str, Path]:
    """UNETR, SwinUNETR, SegResNet, DynUNet and UNet in three and two dimensions, a bundle, nnU-Nets and scratch.

    Args:
        folder: A new folder.

    Returns:
        The name that each is recognised under -> its path.
    """
    suffixes = {"DynUNet": ".pt", "UNet": ".pth", "UNETR": ".safetensors", "SwinUNETR": ".ckpt", "SegResNet": ".pt"}
    write = {
        f"{name.lower()}_{dims}d": partial(
            write_weights, small_network(name, dims=dims), folder / f"{name.lower()}_{dims}d{suffix}"
        )
        for name, suffix in suffixes.items()
        for dims in (3, 2)
    }
    places = {name: make() for name, make in write.items()}
    places["bundle"] = write_bundle(folder / "bundle")
    places["scratch"] = write_file(folder / "scratch")
    for dims, cls in ((3, "PlainConvUNet"), (2, "ResidualEncoderUNet")):
        data = folder / f"Dataset50{dims}_Made"
        configuration = {2: "2d", 3: "3d_fullres"}[dims]
        write_nnunet(data, dims=dims, cls=cls)
        places[f"{data.name}__{configuration}"] = data
    return places
