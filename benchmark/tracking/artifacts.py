"""Artifacts of any run or registered model, by their MLflow address."""

from pathlib import Path

from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from benchmark.errors import InputError


def fetch_artifact(path: str, folder: Path, *, uri: str | None = None) -> Path:
    """Copy what lies at an MLflow address below a folder and return its place.

    Args:
        path: `mlflow-artifacts:/...`, `runs:/RUN/PATH` or `models:/NAME/VERSION`.
        folder: Made if it is not there.
        uri: The tracking address; None: MLflow's own setting.

    Raises:
        InputError: Nothing is there, or the store does not answer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return Path(download_artifacts(artifact_uri=path, dst_path=str(folder), tracking_uri=uri))
    except (MlflowException, SQLAlchemyError, OSError) as error:
        told = " ".join(str(error).split())
        raise InputError(f"source: {path} must be an artifact in MLflow, got: {told}") from error
