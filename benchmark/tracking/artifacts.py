"""Artifacts of runs and registered models in MLflow: download any, which creates no store, and register a folder."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from requests.exceptions import ConnectionError as FailedConnection
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from benchmark.errors import InputError, one_line
from benchmark.storage.digest import file_digest, value_digest

ENVIRONMENT = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # it would break the progress display
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # `patience` limits the retries
}
SQLITE = "sqlite:///"
TOKEN = "registration"  # tag of a version that was registered here
DEFAULT = f"{SQLITE}mlflow.db"  # the default of `tracking.uri`


def fetch_artifact(path: str, folder: Path, *, uri: str | None = None) -> Path:
    """Download an artifact of any run or registered model, and return its path.

    Args:
        path: `mlflow-artifacts:/...`, `runs:/RUN/PATH` or `models:/NAME/VERSION`.
        folder: Created if missing.
        uri: The tracking address. If it is None or the default, and there is no such file, MLflow's own setting is
            used (MLFLOW_TRACKING_URI).

    Raises:
        InputError: The artifact or the store does not exist, or the store does not answer.
    """
    quiet_mlflow()
    store = mlflow.get_tracking_uri() if uri is None or (uri == DEFAULT and missing_file(uri)) else uri
    if missing := missing_file(store):
        raise InputError(f"source: cannot download the artifact {path}: the tracking store {missing} does not exist; "
                         "set tracking.uri to the address of the store that has it")  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _tracking(store):
            return Path(download_artifacts(artifact_uri=path, dst_path=str(folder), tracking_uri=store))
    except (MlflowException, SQLAlchemyError, RequestException, OSError) as error:
        reason = "the server does not answer" if _is_unreachable(error) else one_line(error)
        raise InputError(
            f"source: cannot download the artifact {path} from {store} (tracking.uri): {reason}"
        ) from error


def _is_unreachable(error: BaseException | None) -> bool:
    """Whether the error, or one that it was raised for, is a failed connection."""
    while error is not None and not isinstance(error, FailedConnection):
        error = error.__cause__ or error.__context__
    return error is not None


def quiet_mlflow() -> None:
    """Turn off MLflow's progress bars and messages, unless the user's environment sets them."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it warns of each retry


def missing_file(uri: str) -> str | None:
    """The file or folder of a local store if it does not exist; None for a store that exists, and for servers.

    Example:
        >>> missing_file("sqlite:////nowhere/mlflow.db"), missing_file("http://127.0.0.1:5000")
        ('/nowhere/mlflow.db', None)
    """
    scheme = urlsplit(uri).scheme
    if uri.startswith(SQLITE):
        name = uri.removeprefix(SQLITE).partition("?")[0]
        exists = bool(name) and Path(name).exists()
    elif scheme in {"", "file"}:
        name = unquote(urlsplit(uri).path)
        exists = Path(name).is_dir()
    else:
        return None
    return None if exists else name


def create_model(client: MlflowClient, name: str) -> None:
    """Create a registered model unless it exists.

    Raises:
        MlflowException: MLflow takes no such name.
    """
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def create_version(client: MlflowClient, name: str, folder: Path, run: str, token: str) -> int:
    """Log a folder as an artifact of a run, make it a version of a registered model, and return the version.

    Args:
        client: The store.
        name: The registered model.
        folder: The folder.
        run: The run's identifier.
        token: Marks the version, so that a second call with it makes no other one.

    Raises:
        MlflowException: There is no such run.
    """
    before = [v for v in client.search_model_versions(f"run_id = '{run}'") if v.tags.get(TOKEN) == token]
    if before:
        return int(before[0].version)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    content = [f"{path.relative_to(folder)}:{file_digest(path)}" for path in files]
    place = f"registered/{value_digest(content)[:16]}"  # other content never replaces that of a version
    client.log_artifacts(run, str(folder), place)
    source = f"{client.get_run(run).info.artifact_uri}/{place}"
    return int(client.create_model_version(name, source, run_id=run, tags={TOKEN: token}).version)


@contextmanager
def _tracking(uri: str) -> Iterator[None]:
    """Make a store MLflow's own for the block: `models:/...` is looked up there, whatever argument is passed."""
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # None unsets it
