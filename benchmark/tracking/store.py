"""Store of results in an MLflow experiment: finds finished jobs, claims, writes and delivers new ones."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Experiment, RunStatus, ViewType
from mlflow.exceptions import MlflowException
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from benchmark.errors import InputError
from benchmark.jobs.provenance import provenance, rerun_command
from benchmark.tracking.delivery import deliver, fetch, row_of
from benchmark.tracking.locks import claimed, claims_place, forget
from benchmark.tracking.outbox import Draft, Parcel, remove_leftovers, waiting
from benchmark.tracking.records import Row
from benchmark.tracking.retry import patiently

PAGE = 1000  # rows per query; the limit of MLflow is 50000
Result = TypeVar("Result")


@dataclass(frozen=True)
class Store:
    """An MLflow experiment.

    Attributes:
        uri: The tracking address: sqlite:///FILE, a database or a server.
        experiment: The experiment's name.
        artifacts: Folder for artifacts of a new local experiment; a server uses its own.
        outbox: Folder of results that wait for delivery; inside `artifacts` by default.
        locks: Where jobs are locked: a PostgreSQL address for many machines, or a folder; by default the store's own
            PostgreSQL database, or a folder next to the sqlite file or the outbox.
        patience: Seconds to keep trying while the store is unavailable.
    """

    uri: str
    experiment: str
    artifacts: str = "mlartifacts"
    outbox: str = ""
    locks: str = ""
    patience: float = 60.0

    def prepare(self) -> str:
        """Create or upgrade the store and the experiment, and return the experiment's id; safe in parallel."""
        return str(self._experiment.experiment_id)

    @cached_property
    def client(self) -> MlflowClient:
        """A client of the store, whose schema is upgraded if needed.

        Raises:
            InputError: The store cannot be opened.
        """
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # would break the progress display
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # `patience` limits the retries
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # its errors are reported as InputError
        lock: AbstractContextManager[object] = nullcontext()
        if self.uri.startswith("sqlite:///"):
            path = Path(self.uri.removeprefix("sqlite:///")).absolute()
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(f"{path}.lock")  # two processes that create a store at once corrupt it
        with lock:
            try:
                return MlflowClient(self.uri)
            except (MlflowException, SQLAlchemyError) as error:
                if "out-of-date" not in str(error):
                    raise self._closed(error) from error
            subprocess.run([sys.executable, "-m", "mlflow", "db", "upgrade", self.uri], check=False)
            try:
                return MlflowClient(self.uri)
            except (MlflowException, SQLAlchemyError) as error:  # created by a newer MLflow, so an upgrade cannot help
                raise self._closed(error) from error

    def _closed(self, error: Exception) -> InputError:
        return InputError(f"cannot open the tracking store {self.uri}: {' '.join(str(error).split())}")

    @cached_property
    def _experiment(self) -> Experiment:
        try:
            found = self._patiently(self.client.get_experiment_by_name, self.experiment)
        except MlflowException as error:  # the first request to a server
            raise self._closed(error) from error
        if found is None:
            location = None if self.uri.startswith("http") else Path(self.artifacts).absolute().as_uri()
            with suppress(MlflowException):  # another process created it first
                self.client.create_experiment(self.experiment, artifact_location=location)
            found = self.client.get_experiment_by_name(self.experiment)
        if found is None or found.lifecycle_stage != "active":
            raise InputError(f"experiment {self.experiment} of {self.uri} is deleted; set another tracking.experiment")
        return found

    def finished(self, stage: str | None = None) -> dict[str, Row]:
        """Finished jobs by key; the newest run of each job.

        Args:
            stage: Return only jobs of this stage.
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
        ours, order = [self._experiment.experiment_id], ["attributes.start_time ASC"]
        token = None
        while token != "":
            page = self._patiently(self.client.search_runs, ours, where, ViewType.ACTIVE_ONLY, PAGE, order, token)
            yield from map(row_of, page)
            token = page.token or ""

    def download(self, run: str, path: str, folder: Path) -> Path:
        """Download an artifact, a file or a folder, into `folder` and return its path.

        Raises:
            InputError: The artifact does not exist, or cannot be written.
        """
        return self._patiently(fetch, self.client, run, path, folder)

    @contextmanager
    def claim(self, key: str) -> Iterator[Row | None]:
        """Lock a job for the block and yield its finished run, or None.

        A result of the job that waits on disk is delivered first.
        """
        with self._locked(key):
            yield self.find(key)

    def deliver(self) -> int:
        """Deliver all results of the experiment that wait on disk, and return their number."""
        delivered = 0
        for parcel in waiting(self._outbox):
            with self._locked(parcel.folder.name) as own:  # 0 if its job has delivered it meanwhile
                delivered += own
        return delivered

    @contextmanager
    def _locked(self, key: str) -> Iterator[int]:
        with claimed(key, self._locks, patience=self.patience):
            own = [parcel for parcel in waiting(self._outbox) if parcel.belongs(key, self.experiment)]
            for parcel in own:
                self._patiently(self._deliver, parcel)
            yield len(own)
        if self.find(key) is not None:
            forget(key, self._locks)

    def tidy(self) -> None:
        """Delete files of killed jobs whose results are in the store."""
        remove_leftovers(self._outbox, self.finished())

    @contextmanager
    def run(
        self,
        stage: str,
        key: str,
        name: str,
        *,
        params: Mapping[str, Any],
        config: Mapping[str, Any],
        suite: str,
        parents: Mapping[str, str] | None = None,
    ) -> Iterator[Draft]:
        """Write the result of a job: FINISHED when the block ends, FAILED when it raises, KILLED when interrupted.

        The result is written to disk first and delivered when the block ends. If the store is unavailable, the next run
        of the job or of the bench delivers it.

        Args:
            stage: One of records.STAGES.
            key: The job's key.
            name: The run's readable name.
            params: Settings of the job.
            config: The resolved config, saved as an artifact.
            suite: The suite's name.
            parents: Inputs of the job: keys of other jobs, digests of data.

        Raises:
            InputError: The store is unavailable; the result is kept on disk.
        """
        facts = provenance()
        tags = {"stage": stage, "job_key": key, "suite": suite, "mlflow.runName": name} | facts.tags
        tags |= {f"parent/{kind}": value for kind, value in (parents or {}).items()}
        draft = Draft.begin(self._outbox, key, experiment=self.experiment, name=name, tags=tags)
        draft.log(params=params)
        job = {"config": config, "environment": facts.details, "parents": parents or {}, "run_again": rerun_command()}
        draft.json(job, "job.json")
        if facts.diff:
            draft.text(facts.diff, "uncommitted.diff")
        try:
            yield draft
        except KeyboardInterrupt:
            self._end(draft, RunStatus.KILLED)
            raise
        except BaseException as error:
            draft.log(tags={"error": f"{type(error).__name__}: {error}"[:4000]})
            self._end(draft, RunStatus.FAILED)
            raise
        draft.run_id = self._patiently(self._deliver, draft.seal(RunStatus.to_string(RunStatus.FINISHED)))

    def _end(self, draft: Draft, status: int) -> None:
        """Record an unfinished job without retrying, so that the error of the job itself is raised."""
        with suppress(OSError, MlflowException, RequestException):
            parcel = draft.seal(RunStatus.to_string(status))
            try:
                self._deliver(parcel)
            finally:
                parcel.remove()
        draft.drop()

    def _deliver(self, parcel: Parcel) -> str:
        """Write a parcel to the store, unless its job is already finished there, and delete it."""
        row = self.find(parcel.folder.name) if parcel.row["status"] == "FINISHED" else None
        run = row.run if row else deliver(parcel, self.client, str(self._experiment.experiment_id))
        parcel.remove()
        return run

    def _patiently(self, call: Callable[..., Result], *arguments: Any) -> Result:
        hint = (
            f"cannot reach or write the tracking store {self.uri} (results that are not delivered are kept in "
            f"{self._outbox}; the next run delivers them)"
        )
        return patiently(call, *arguments, seconds=self.patience, hint=hint)

    @property
    def _outbox(self) -> Path:
        return Path(self.outbox or f"{self.artifacts}/.outbox").absolute()

    @property
    def _locks(self) -> str:
        return claims_place(self.uri, self.locks, self._outbox)
