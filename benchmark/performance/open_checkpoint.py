"""Row on opening a checkpoint, relative to reading its file with torch and computing its SHA-256."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.performance.measurement import Check, Measurement, Timed, TimedRow
from benchmark.sources.model import Model, Source
from benchmark.sources.readers.nnunet import NnunetSource
from benchmark.sources.readers.state_dict import StateDictSource
from benchmark.storage.digest import file_digest
from benchmark.storage.digest_memory import remembering

CONFIGURATION = "3d_fullres"
CLASSES = 3
PATCH = 128  # voxels per side, in plans.json only


@dataclass(frozen=True)
class ResidualUNet:
    """The size of a residual encoder U-Net of nnU-Net: channels, and residual blocks, of each stage."""

    features: Sequence[int]
    blocks: Sequence[int]

    def plans(self) -> dict[str, Any]:
        """A plans.json as nnU-Net's planner writes it."""
        stages = len(self.features)
        resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
        network = {
            "n_stages": stages,
            "features_per_stage": list(self.features),
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3] * 3] * stages,
            "strides": [[1] * 3, *[[2] * 3] * (stages - 1)],
            "n_blocks_per_stage": list(self.blocks),
            "n_conv_per_stage_decoder": [1] * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        }
        configuration = {
            "patch_size": [PATCH] * 3,
            "spacing": [1.0] * 3,
            "normalization_schemes": ["ZScoreNormalization"],
            "use_mask_for_norm": [False],
            "resampling_fn_data": "resample_data_or_seg_to_shape",
            "resampling_fn_seg": "resample_data_or_seg_to_shape",
            "resampling_fn_data_kwargs": resampling,
            "resampling_fn_seg_kwargs": resampling | {"is_seg": True, "order": 1},
            "architecture": {
                "network_class_name": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
                "arch_kwargs": network,
                "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
            },
        }
        return {
            "plans_name": "nnUNetPlans",
            "transpose_forward": [0, 1, 2],
            "transpose_backward": [0, 1, 2],
            "configurations": {CONFIGURATION: configuration},
            "foreground_intensity_properties_per_channel": {"0": {}},
        }

    def write(self, folder: Path) -> Path:
        """Write a results folder and return its checkpoint."""
        from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

        plans = self.plans()
        parts = plans["configurations"][CONFIGURATION]["architecture"]
        network = get_network_from_plans(
            *(parts["network_class_name"], parts["arch_kwargs"], parts["_kw_requires_import"], 1, CLASSES),
            allow_init=True,
            deep_supervision=False,
        )
        labels = {"background": 0, **{f"class {value}": value for value in range(1, CLASSES)}}
        dataset = {"channel_names": {"0": "MR"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}
        (folder / "fold_0").mkdir(parents=True)
        for name, content in (("plans.json", plans), ("dataset.json", dataset)):
            (folder / name).write_text(json.dumps(content), encoding="utf-8")
        path = folder / "fold_0" / "checkpoint_final.pth"
        torch.save({"network_weights": network.state_dict(), "trainer_name": "nnUNetTrainer"}, path)
        return path


@dataclass(frozen=True, kw_only=True)
class OpenCheckpoint(TimedRow):
    """Seconds to compute the digest of a source and open it, over those to load its file and compute its SHA-256.

    Both have opened the file before, so that it is in the page cache and modules are imported. The row is that of the
    slowest source; the ratio and the millions of parameters of each are among the details.

    Attributes:
        state_dicts: factories of MONAI networks, whose state dicts are saved and recognised by their tensors.
        nnunet: the size of a network in a results folder of nnU-Net.
    """

    rule = "at most"
    state_dicts: Mapping[str, Callable[..., nn.Module]]
    nnunet: ResidualUNet

    def measure(self, device: str) -> Measurement:
        """Write and open each source, on the CPU; `device` is ignored."""
        rows = {}
        for name, network in self.state_dicts.items():
            rows[name] = self._row(partial(_state_dict, network))
        rows["nnunet"] = self._row(self._results_folder)
        details = {f"ratio_{name}": row.ratio for name, row in rows.items()}
        details |= {f"millions_{name}": row.details["millions"] for name, row in rows.items()}
        slowest = max(rows.values(), key=lambda row: row.ratio)
        checks = {"wrong_weights": Check(sum(row.checks["wrong_weights"].error for row in rows.values()), 0.0)}
        return Measurement(
            slowest.ours, slowest.reference, self.rule, self.bound, "cpu", checks=checks, details=details
        )

    def _row(self, write: Callable[[Path], tuple[Source, Path]]) -> Measurement:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            source, path = write(folder)
            memories = (folder / f"digests_{n}.sqlite" for n in count())

            def ours() -> Model:
                with remembering(next(memories)):  # the digest is not known
                    source.digest()
                    return source.open()

            ours()
            _load(path)
            timed: Timed[Model, Mapping[str, Tensor]] = self._time(ours, partial(_load, path), "cpu")
            weights, saved = timed.result.weights, timed.expected
            wrong = sum(not torch.equal(weights[name], tensor) for name, tensor in saved.items())
            distinct = {tensor.data_ptr(): tensor.numel() for tensor in saved.values()}
            millions = sum(distinct.values()) / 1e6
        return self._measurement(
            timed, "cpu", checks={"wrong_weights": Check(float(wrong), 0.0)}, details={"millions": millions}
        )

    def _results_folder(self, folder: Path) -> tuple[Source, Path]:
        path = self.nnunet.write(folder / f"nnUNetTrainer__nnUNetPlans__{CONFIGURATION}")
        return NnunetSource("nnunet", path.parent.parent), path


def _state_dict(network: Callable[..., nn.Module], folder: Path) -> tuple[Source, Path]:
    path = folder / "weights.pt"
    torch.save(network(in_channels=1, out_channels=CLASSES).state_dict(), path)
    return StateDictSource("state_dict", path), path


def _load(path: Path) -> Mapping[str, Tensor]:
    """The state dict of a file, read as torch documents it, after its SHA-256."""
    file_digest(path)
    content = torch.load(path, map_location="cpu", weights_only=True)
    weights: Mapping[str, Tensor] = content.get("network_weights", content)
    return weights
