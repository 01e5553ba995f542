"""Published figures to compare with, and published pools that ship with the project.

Yang et al., "Pick the Best Pre-trained Model: Towards Transferability Estimation for Medical Image Segmentation",
MICCAI 2023, arXiv 2307.11958. Table 1: the agreement of five methods on five CT targets of the Medical Segmentation
Decathlon (liver, lung, pancreas, spleen, colon), all weights tuned, each pool trained on the other four. Figure 2: the
Dice of the ten models on the liver, and where the figure places each by four methods, read off the vector figure (each
score up to scale and shift, which no measure of agreement sees). Pool, data and budget differ from this benchmark, so
its results need not match.

Wald et al., "An OpenMind for 3D Medical Vision Self-supervised Learning", ICCV 2025, Table 2: the mean Dice (percent)
after fine-tuning each self-supervised source on each target, for two architectures, as transcribed in the repository
SPIresearch/TopoTE. There is one number per pair and no seeds, so the reliability is unknown.

Kus and Aydin, "MedSegBench: A comprehensive benchmark for medical image segmentation in diverse data modalities",
Scientific Data 11, 2024, doi 10.1038/s41597-024-04159-2: the F1 (Dice) of six ImageNet encoders fine-tuned on 38
targets of 35 data sets of 2D images, with three seeds (repository zekikus/MedSegBench, Apache-2.0). 17 targets have
five of the six encoders.

Juodelyte et al., "On dataset transferability in medical image classification", arXiv 2412.20172: the AUC after
fine-tuning on data sets of MedMNIST, of 15 sources (ImageNet and others) and of 9 architectures, with the authors' own
scores of eight estimates (repository DovileDo/transferability-in-medical-imaging, MIT). This is classification.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

CITATION = "arXiv 2307.11958, Table 1"

OPENMIND = ("openmind_resenc_l", "openmind_primus_m")
WITHOUT_VARIETY = "no variety"
PERCENT = 100.0
MEAN = "mean"  # the target of a printed mean
# metric of this project -> the row of Table 2, the ablation of CC-FV
ABLATION = {
    "ccfv_consistency": "ccfv_consistency (no variety)",
    "ccfv_variety": "ccfv_variety (no consistency)",
    "ccfv_single_scale": "single scale",
    "ccfv_kl": "KL in place of W2",
    "ccfv_bhattacharyya": "Bhattacharyya in place of W2",
}
_OPENMIND_PAPER = "Wald et al., An OpenMind for 3D Medical Vision Self-supervised Learning, ICCV 2025, Table 2"
_MEDMNIST_PAPER = "Juodelyte et al., On dataset transferability in medical image classification, arXiv 2412.20172"


@dataclass(frozen=True)
class PublishedPool:
    """A published table of truth that ships with the project.

    Attributes:
        citation: Where its figures come from.
        licence: The licence of the source; "" if it has none.
        estimates: Whether the authors' scores of estimates ship with it.
        groups: Target -> the group of targets that come from one data set.
    """

    citation: str
    licence: str = ""
    estimates: bool = False
    groups: Mapping[str, str] = field(default_factory=dict)


POOLS: Mapping[str, PublishedPool] = {
    **dict.fromkeys(OPENMIND, PublishedPool(_OPENMIND_PAPER)),
    "ccfv_figure2": PublishedPool("Yang et al., MICCAI 2023, arXiv 2307.11958, figure 2", estimates=True),
    "medsegbench": PublishedPool(
        "Kus and Aydin, MedSegBench, Scientific Data 2024, doi 10.1038/s41597-024-04159-2; repository "
        "zekikus/MedSegBench, additional_files/all_result.xlsx",
        "Apache-2.0",
        groups=dict.fromkeys(("idrib_C1", "idrib_C2", "idrib_C3", "idrib_C4"), "idrib"),
    ),
    "medmnist_datasets": PublishedPool(_MEDMNIST_PAPER, "MIT", estimates=True),
    "medmnist_architectures": PublishedPool(_MEDMNIST_PAPER, "MIT", estimates=True),
}


def published_path(name: str, *, estimates: bool = False) -> Path:
    """The CSV file of a published pool, or of its estimates."""
    return Path(__file__).with_name(f"{name}{'_estimates' if estimates else ''}.csv")


def published_truth(name: str) -> pd.DataFrame:
    """Load a published table of truth.

    Args:
        name: One of `POOLS`.

    Returns:
        The columns of the file: source, target, dice or auc (a fraction, NaN for a missing pair), and maybe seed.

    Raises:
        ValueError: `name` is not in `POOLS`.

    Example:
        >>> published_truth("openmind_resenc_l").shape
        (132, 3)
    """
    if name not in POOLS:
        raise ValueError(f"`name` must be one of {', '.join(POOLS)}, got {name!r}")
    table = pd.read_csv(published_path(name))
    value = "dice" if "dice" in table else "auc"
    if (table[value] > 1).any():
        table[value] /= PERCENT
    return table


def published_agreement() -> pd.DataFrame:
    """Load Table 1 of Yang et al., and CC-FV without variety of their Table 2.

    Returns:
        Columns metric, target, weighted_kendall, pearson (NaN in Table 2); the target "mean" is the printed mean over
        the five targets.
    """
    ablation = pd.read_csv(published_path("ccfv_table2")).rename(columns={"variant": "metric"})
    without = ablation[ablation["metric"].str.contains(WITHOUT_VARIETY, regex=False)]
    return pd.concat([pd.read_csv(published_path("ccfv_table1")), without], ignore_index=True)


def published_ablation() -> pd.DataFrame:
    """Load Table 2 of Yang et al., the ablation of CC-FV.

    Returns:
        Columns metric (of this project, see `ABLATION`), variant (the paper's row), target, weighted_kendall; the
        target "mean" is the printed mean.
    """
    names = {variant: metric for metric, variant in ABLATION.items()}
    table = pd.read_csv(published_path("ccfv_table2"))
    return table.assign(metric=table["variant"].map(names))


def _published_means() -> dict[str, dict[str, float]]:
    table = pd.read_csv(published_path("ccfv_table1"))
    means = table[table["target"] == MEAN].set_index("metric")[["pearson", "weighted_kendall"]]
    return {str(metric): {str(name): float(value) for name, value in row.items()} for metric, row in means.iterrows()}


PUBLISHED = _published_means()  # metric -> measure -> the published mean over the five targets
