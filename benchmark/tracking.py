"""Rows in MLflow: the only file that imports it."""

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Experiment, Metric, Param, RunStatus, RunTag, ViewType
from mlflow.entities import Run as StoredRun
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from benchmark.errors import InputError
from benchmark.provenance import provenance
from benchmark.records import Row

PAGE = 1000  # rows a query; the store's own limit is 50000
BATCH = 1000  # metrics a request; the limit of MLflow's log_batch


@dataclass(frozen=True)
class Store:
    """An MLflow experiment.

    Attributes:
        uri: The tracking address: sqlite:///FILE, a database or a server.
        experiment: The experiment's name.
        artifacts: Folder for artifacts of a new local experiment; a server decides for itself.
    """

    uri: str
    experiment: str
    artifacts: str = "mlartifacts"

    def prepare(self) -> str:
        """Create or upgrade the store and the experiment, one process at a time, and return the experiment's id."""
        return str(self._experiment.experiment_id)

    @cached_property
    def client(self) -> MlflowClient:
        """A client of a store that is known to be up to date.

        Raises:
            InputError: The store cannot be opened.
        """
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # jobs run under one live line
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        lock: AbstractContextManager[object] = nullcontext()
        if self.uri.startswith("sqlite:///"):
            path = Path(self.uri.removeprefix("sqlite:///")).absolute()
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(f"{path}.lock")  # processes that open a new store at once would break it for good
        with lock:
            try:
                return MlflowClient(self.uri)
            except (MlflowException, SQLAlchemyError) as error:
                if "out-of-date" not in str(error):
                    raise self._closed(error) from error
            subprocess.run([sys.executable, "-m", "mlflow", "db", "upgrade", self.uri], check=False)
            try:
                return MlflowClient(self.uri)
            except (MlflowException, SQLAlchemyError) as error:  # made by a newer MLflow, which no upgrade mends
                raise self._closed(error) from error

    def _closed(self, error: Exception) -> InputError:
        return InputError(f"tracking.uri must be a store that opens, got {self.uri}: {' '.join(str(error).split())}")

    @cached_property
    def _experiment(self) -> Experiment:
        try:
            found = self.client.get_experiment_by_name(self.experiment)
        except MlflowException as error:  # only now is a server asked
            raise self._closed(error) from error
        if found is None:
            location = None if self.uri.startswith("http") else Path(self.artifacts).absolute().as_uri()
            with suppress(MlflowException):  # another process was faster
                self.client.create_experiment(self.experiment, artifact_location=location)
            found = self.client.get_experiment_by_name(self.experiment)
        if found is None or found.lifecycle_stage != "active":
            raise InputError(f"tracking.uri: the experiment {self.experiment} of {self.uri} must not be deleted")
        return found

    def finished(self, stage: str | None = None) -> dict[str, Row]:
        """The finished jobs, by key; of several runs of one job the newest.

        Args:
            stage: Only this stage's jobs.
        """
        return {row.key: row for row in self._search(f" and tags.stage = '{stage}'" if stage else "")}

    def find(self, key: str) -> Row | None:
        """The newest finished run of a job, or None."""
        return self.find_tag("job_key", key)

    def find_tag(self, tag: str, value: str) -> Row | None:
        """The newest finished run with this value of a tag, or None."""
        return next(reversed(list(self._search(f" and tags.{tag} = '{value}'"))), None)

    def _search(self, condition: str) -> Iterator[Row]:
        """Finished runs, oldest first."""
        where = "attributes.status = 'FINISHED'" + condition
        order = ["attributes.start_time ASC"]
        token = None
        while token != "":
            page = self.client.search_runs(
                [self._experiment.experiment_id], where, ViewType.ACTIVE_ONLY, PAGE, order, token
            )
            yield from map(_row, page)
            token = page.token or ""

    def download(self, run: str, path: str, folder: Path) -> Path:
        """Copy an artifact, a file or a folder, below `folder` and return its place."""
        folder.mkdir(parents=True, exist_ok=True)
        return Path(self.client.download_artifacts(run, path, str(folder)))

    @contextmanager
    def run(
        self, stage: str, key: str, name: str, *, params: Mapping[str, Any], config: Mapping[str, Any], suite: str
    ) -> Iterator["Run"]:
        """A run that is FINISHED when the block ends, FAILED when it raises, KILLED when it is interrupted.

        Args:
            stage: One of records.STAGES.
            key: The job's key.
            name: The run's readable name.
            params: What was asked for.
            config: The resolved config, kept as an artifact.
            suite: The suite's name.
        """
        facts = provenance()
        tags = {"stage": stage, "job_key": key, "suite": suite, "mlflow.runName": name} | facts.tags
        made = self.client.create_run(self._experiment.experiment_id, tags=tags)
        run = Run(self.client, made.info.run_id)
        run.log(params=params)
        run.json({"config": config, "environment": facts.details}, "job.json")
        status = RunStatus.FINISHED
        try:
            yield run
        except KeyboardInterrupt:
            status = RunStatus.KILLED
            raise
        except BaseException as error:
            status = RunStatus.FAILED
            run.log(tags={"error": f"{type(error).__name__}: {error}"[:4000]})
            raise
        finally:
            self.client.set_terminated(made.info.run_id, RunStatus.to_string(status))


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
        raise InputError(
            f"source: {path} must be an artifact in MLflow, got: {' '.join(str(error).split())}"
        ) from error


@dataclass(frozen=True)
class Run:
    """A run that is being written.

    Attributes:
        client: The store's client.
        run_id: The run.
    """

    client: MlflowClient
    run_id: str

    def log(
        self,
        *,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write params, metrics and tags in one request."""
        self.client.log_batch(
            self.run_id,
            [Metric(name, float(value), _now(), 0) for name, value in (metrics or {}).items()],
            [Param(name, str(value)) for name, value in (params or {}).items()],
            [RunTag(name, str(value)) for name, value in (tags or {}).items()],
        )

    def curve(self, name: str, values: Sequence[float]) -> None:
        """Write one value a step, the first at step 1."""
        points = [Metric(name, float(value), _now(), step) for step, value in enumerate(values, 1)]
        for start in range(0, len(points), BATCH):
            self.client.log_batch(self.run_id, points[start : start + BATCH])

    def file(self, path: Path, folder: str = "") -> None:
        """Keep a file, or all files of a folder, as artifacts."""
        keep = self.client.log_artifacts if path.is_dir() else self.client.log_artifact
        keep(self.run_id, str(path), folder or None)

    def json(self, content: Any, name: str) -> None:
        """Keep JSON as an artifact."""
        self.text(json.dumps(content, indent=1, default=str), name)

    def text(self, content: str, name: str) -> None:
        """Keep a text as an artifact."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(name).name
            path.write_text(content, encoding="utf-8")
            self.file(path, os.path.dirname(name))  # noqa: PTH120 - an artifact's path, not the file system's


def _row(run: StoredRun) -> Row:
    tags = dict(run.data.tags)
    return Row(
        stage=tags.get("stage", ""),
        key=tags.get("job_key", run.info.run_id),
        name=run.info.run_name or "",
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        tags=tags,
        run=run.info.run_id,
    )


def _now() -> int:
    return int(time.time() * 1000)
