"""Published figures to compare with.

Yang et al., "Pick the Best Pre-trained Model: Towards Transferability Estimation for Medical Image Segmentation",
MICCAI 2023, arXiv 2307.11958, Table 1: the mean over five CT targets of the Medical Segmentation Decathlon (liver,
lung, pancreas, spleen, colon), all weights tuned, each pool trained on the other four. Pool, data and budget differ
from this benchmark, so its results need not match.

Wald et al., "An OpenMind for 3D Medical Vision Self-supervised Learning", ICCV 2025, Table 2: the mean Dice (percent)
after fine-tuning each self-supervised source on each target, for two architectures, as transcribed in the repository
SPIresearch/TopoTE. There is one number per pair and no seeds, so the reliability is unknown.
"""

from importlib.resources import files

import pandas as pd

CITATION = "arXiv 2307.11958, Table 1"

OPENMIND = ("openmind_resenc_l", "openmind_primus_m")

# metric -> measure -> the published mean over the five targets
PUBLISHED = {
    "ccfv": {"pearson": 0.7003, "weighted_kendall": 0.4986},
    "gbc": {"pearson": 0.3317, "weighted_kendall": 0.4111},
    "logme": {"pearson": 0.2082, "weighted_kendall": 0.0218},
}


def published_truth(name: str) -> pd.DataFrame:
    """Load a published table of truth.

    Args:
        name: One of `OPENMIND`.

    Returns:
        Columns source, target, dice (a fraction).

    Raises:
        ValueError: `name` is not in `OPENMIND`.

    Example:
        >>> published_truth("openmind_resenc_l").shape
        (132, 3)
    """
    if name not in OPENMIND:
        raise ValueError(f"`name` must be one of {', '.join(OPENMIND)}, got {name!r}")
    with files(__name__).joinpath(f"{name}.csv").open() as stream:
        table = pd.read_csv(stream)
    table["dice"] /= 100
    return table
