"""Deliver parcels to MLflow as runs, and read runs as rows.

Every step of a delivery can be repeated: a second attempt continues with the run of the first.
"""

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException

from benchmark.errors import InputError
from benchmark.tracking.outbox import Parcel
from benchmark.tracking.records import Row
from benchmark.tracking.retry import is_away

BATCH = 1000  # metrics per request; limit of MLflow's log_batch
SMALL_BATCH = 100  # params or tags per request; limit of log_batch


def deliver(parcel: Parcel, client: MlflowClient, experiment: str) -> str:
    """Write the row and artifacts of a parcel to a run, end the run with the job's status, and return its identifier.

    Args:
        parcel: The parcel to deliver.
        client: A client of the store.
        experiment: The experiment's identifier.
    """
    row = parcel.row
    run = row["run"] or _begin(parcel, row, client, experiment)
    _write(run, row, client)
    if any(parcel.files.iterdir()):
        client.log_artifacts(run, str(parcel.files))
    client.set_terminated(run, row["status"], row["end"])
    return str(run)


def fetch(client: MlflowClient, run: str, path: str, folder: Path) -> Path:
    """Download an artifact of a run into a folder and return its path.

    Args:
        client: A client of the store.
        run: The run's identifier.
        path: The artifact, a file or a folder.
        folder: Created if missing.

    Raises:
        InputError: The artifact does not exist, or the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return Path(client.download_artifacts(run, path, str(folder)))
    except MlflowException as error:  # raised for a missing artifact and for a full disk alike
        if is_away(error):
            raise
        free = shutil.disk_usage(folder).free // 2**20
        raise InputError(
            f"cannot download the artifact {path} of run {run} to {folder} ({free} MB free): "
            f"{' '.join(str(error).split())}"
        ) from error


def _begin(parcel: Parcel, row: Mapping[str, Any], client: MlflowClient, experiment: str) -> str:
    """Create a run, or find the open run of an earlier attempt that was killed before it noted the identifier."""
    if row["tried"]:
        where = f"attributes.status = 'RUNNING' and tags.job_key = '{row['key']}'"
        begun = client.search_runs([experiment], where, ViewType.ACTIVE_ONLY, 1)
        if begun:
            return str(begun[0].info.run_id)
    parcel.note(tried=True)
    made = client.create_run(experiment, start_time=row["start"], tags=row["tags"])
    parcel.note(run=made.info.run_id)
    return str(made.info.run_id)


def _write(run: str, row: Mapping[str, Any], client: MlflowClient) -> None:
    params = [Param(name, value) for name, value in row["params"].items()]
    tags = [RunTag(name, value) for name, value in row["tags"].items()]
    metrics = [Metric(*values) for values in row["metrics"]]
    for start in range(0, max(len(params), len(tags)), SMALL_BATCH):
        end = start + SMALL_BATCH
        client.log_batch(run, [], params[start:end], tags[start:end])
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run, metrics[start : start + BATCH])
    if inputs := [_input(*facts) for facts in row.get("data", [])]:  # absent in parcels of older versions
        client.log_inputs(run, inputs)


def _input(name: str, digest: str, folder: str, use: str) -> DatasetInput:
    data = Dataset(name, digest[:36], "local", json.dumps({"uri": folder}))  # MLflow keeps 36 characters of a digest
    return DatasetInput(data, [InputTag("mlflow.data.context", use)])


def row_of(run: Run) -> Row:
    """Convert a run to a row."""
    tags = dict(run.data.tags)
    return Row(
        stage=tags.get("stage", ""),
        key=tags.get("job_key", run.info.run_id),
        name=run.info.run_name or "",
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        tags=tags,
        run=run.info.run_id,
        seconds=(run.info.end_time - run.info.start_time) / 1000.0 if run.info.end_time else math.nan,
    )
