"""Infer the settings of U-Nets of public releases that are in no package: Models Genesis and SuPreM."""

from torch import Tensor

from benchmark.sources.networks.batch_statistics_unet import UNet3D
from benchmark.sources.weights.family import Family, Reading, Tensors

HEAD = "out_tr.final_conv."
BATCH_STATISTICS = (
    "normalises with the statistics of its input in evaluation, too, as Models Genesis and SuPreM do; each window is a "
    "batch of its own, and the running statistics in the file are not used"
)
RESTORED = "a head with one output restores the image, as Models Genesis trains it, and is left out"


def read_unet3d(tensors: Tensors) -> Reading:
    """UNet3D of Models Genesis and SuPreM, whose widths are in the names of its modules."""
    has_slopes = "down_tr64.ops.0.activation.weight" in tensors
    shown, assumed = ({"act": "prelu"}, {}) if has_slopes else ({}, {"act": "relu"})
    return Reading(shown, assumed, (RESTORED,) if _restores(tensors) else ())


def without_restoration(tensors: Tensors) -> dict[str, Tensor]:
    """UNet3D without the head of Models Genesis, which is no segmentation head."""
    return {name: tensor for name, tensor in tensors.items() if not (_restores(tensors) and name.startswith(HEAD))}


def _restores(tensors: Tensors) -> bool:
    return f"{HEAD}weight" in tensors and len(tensors[f"{HEAD}weight"]) == 1


PUBLIC_UNETS: dict[str, Family] = {
    "UNet3D": Family(
        r"down_tr64\.ops\.0\.conv1\.weight",
        read_unet3d,
        r"up_tr\d+\.",
        network=UNet3D,
        renamed=without_restoration,
        notes=(BATCH_STATISTICS,),
    ),
}
