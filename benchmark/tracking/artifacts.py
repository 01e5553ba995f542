"""Download artifacts of any run or registered model by MLflow address."""

from pathlib import Path

from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from benchmark.errors import InputError


def fetch_artifact(path: str, folder: Path, *, uri: str | None = None) -> Path:
    """Download an artifact into a folder and return its path.

    Args:
        path: `mlflow-artifacts:/...`, `runs:/RUN/PATH` or `models:/NAME/VERSION`.
        folder: Created if missing.
        uri: The tracking address; None for MLflow's own setting.

    Raises:
        InputError: The artifact does not exist, or the store does not answer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return Path(download_artifacts(artifact_uri=path, dst_path=str(folder), tracking_uri=uri))
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise InputError(f"source: cannot download the artifact {path}: {' '.join(str(error).split())}") from error
