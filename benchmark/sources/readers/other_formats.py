"""Model files that no reader reads: what they are, and what their owner can do."""

import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from benchmark.sources.readers.nnunet_folder import is_version_1
from benchmark.sources.weights.safe_load import SUFFIXES, TORCHSCRIPT, is_torchscript

VERSION_1 = (
    "a model of nnU-Net v1, and only nnU-Net v2 is read; a function that builds its network can be named as "
    "package.module:function"
)
LOGGED_MODEL = (
    "a whole model in MLflow (log_model), a pickle that can run code, and only weights are read; log them with "
    "mlflow.pytorch.log_state_dict(model.state_dict(), 'weights') or as a file with mlflow.log_artifact, and name "
    "runs:/RUN/weights or the file"
)
NNUNET = "an exported model of nnU-Net"
FRAMEWORKS = {
    ".onnx": "ONNX",
    ".keras": "Keras",
    ".tflite": "TensorFlow Lite",
    ".pdparams": "PaddlePaddle",
    ".engine": "TensorRT",
}


def other_format(path: Path) -> str | None:
    """Why a file that holds a model is not read; None for files of no known format.

    Args:
        path: A file that no reader recognises.

    Example:
        >>> other_format(Path("unet.onnx"))
        'a model of ONNX, and only weights of PyTorch are read'
        >>> other_format(Path("notes.txt")) is None
        True
    """
    if path.suffix in FRAMEWORKS:
        return f"a model of {FRAMEWORKS[path.suffix]}, and only weights of PyTorch are read"
    if path.suffix == ".ts" and is_torchscript(path):  # others are programs in TypeScript, or films
        return TORCHSCRIPT
    if is_version_1(path):
        return VERSION_1
    if path.name == "plans.pkl" and not any(path.parent.glob("fold_*/*.model")):  # which are listed themselves
        return VERSION_1
    return _archive(path) if path.suffix == ".zip" else None


def logged_model(folder: Path) -> str | None:
    """What a model that is logged whole to MLflow is, and what its owner can do; None for other folders."""
    return LOGGED_MODEL if (folder / "MLmodel").is_file() else None


def _archive(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [PurePosixPath(name) for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile):
        return None
    if any(name.name == "plans.pkl" for name in names):
        return f"an archive with {VERSION_1}"
    kind = _kind(names)
    if kind is None:
        return None
    command = (
        f"nnUNetv2_install_pretrained_model_from_zip {path.name}"
        if kind == NNUNET
        else f"python -m zipfile -e {path.name} {path.stem}"
    )
    return f"{kind}; unpack it, such as with `{command}`, and name the folder"


def _kind(names: Iterable[PurePosixPath]) -> str | None:
    """What an archive with files of these names holds; None if there is no model."""
    files = {name.name for name in names}
    if "plans.json" in files and any(name.startswith("checkpoint_") for name in files):
        return NNUNET
    if any(name.parts[-2:] == ("configs", "metadata.json") for name in names):
        return "a packed MONAI bundle"
    weights = sorted(name for name in files if PurePosixPath(name).suffix in SUFFIXES)
    return f"an archive with the weights file {weights[0]}" if weights else None
