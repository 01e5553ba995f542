"""An MLflow experiment: finished jobs are found in it, new ones are claimed, written and delivered."""

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

PAGE = 1000  # rows a query; the store's own limit is 50000
Result = TypeVar("Result")


@dataclass(frozen=True)
class Store:
    """An MLflow experiment.

    Attributes:
        uri: The tracking address: sqlite:///FILE, a database or a server.
        experiment: The experiment's name.
        artifacts: Folder for artifacts of a new local experiment; a server decides for itself.
        outbox: Folder of results that wait for delivery; beside the artifacts by default.
        locks: Where jobs are claimed: a PostgreSQL address for many machines, or a folder; by default the store's own
            database where it is PostgreSQL, else a folder beside the file or the outbox.
        patience: Seconds that a store may be away before a job gives up.
    """

    uri: str
    experiment: str
    artifacts: str = "mlartifacts"
    outbox: str = ""
    locks: str = ""
    patience: float = 60.0

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
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # `patience` decides how long is tried
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # we tell its errors ourselves, in a line
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
            found = self._patiently(self.client.get_experiment_by_name, self.experiment)
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
        ours, order = [self._experiment.experiment_id], ["attributes.start_time ASC"]
        token = None
        while token != "":
            page = self._patiently(self.client.search_runs, ours, where, ViewType.ACTIVE_ONLY, PAGE, order, token)
            yield from map(row_of, page)
            token = page.token or ""

    def download(self, run: str, path: str, folder: Path) -> Path:
        """Copy an artifact, a file or a folder, below `folder` and return its place.

        Raises:
            InputError: It is not there, or cannot be written.
        """
        return self._patiently(fetch, self.client, run, path, folder)

    @contextmanager
    def claim(self, key: str) -> Iterator[Row | None]:
        """Hold a job while the block runs, so that no other process works on it, and tell whether it is finished.

        A result of it that waits on disk is delivered first.
        """
        with self._held(key):
            yield self.find(key)

    def deliver(self) -> int:
        """Deliver all results of the experiment that wait on disk, each while its job is held; return their number."""
        delivered = 0
        for parcel in waiting(self._outbox):
            with self._held(parcel.folder.name) as own:  # who is writing it delivers it, too
                delivered += own
        return delivered

    @contextmanager
    def _held(self, key: str) -> Iterator[int]:
        with claimed(key, self._locks, patience=self.patience):
            own = [parcel for parcel in waiting(self._outbox) if parcel.belongs(key, self.experiment)]
            for parcel in own:
                self._patiently(self._deliver, parcel)
            yield len(own)
        if self.find(key) is not None:
            forget(key, self._locks)

    def tidy(self) -> None:
        """Remove what killed jobs left on disk of results that the store holds."""
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
        """A result that is FINISHED when the block ends, FAILED when it raises, KILLED when it is interrupted.

        It is written to disk first and delivered when the block ends, so that a store that is away loses nothing: the
        next run of the job, or of the bench, delivers it.

        Args:
            stage: One of records.STAGES.
            key: The job's key.
            name: The run's readable name.
            params: What was asked for.
            config: The resolved config, kept as an artifact.
            suite: The suite's name.
            parents: What the job was made from: keys of other jobs, digests of data.

        Raises:
            InputError: The store is away; the result is kept.
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
        """Tell of a job that did not finish, if that works at once: what matters is the error on its way up."""
        with suppress(OSError, MlflowException, RequestException):
            parcel = draft.seal(RunStatus.to_string(status))
            try:
                self._deliver(parcel)
            finally:
                parcel.remove()
        draft.drop()

    def _deliver(self, parcel: Parcel) -> str:
        """Write a parcel to the store, unless its job is finished there, and forget it."""
        row = self.find(parcel.folder.name) if parcel.row["status"] == "FINISHED" else None
        run = row.run if row else deliver(parcel, self.client, str(self._experiment.experiment_id))
        parcel.remove()
        return run

    def _patiently(self, call: Callable[..., Result], *arguments: Any) -> Result:
        hint = (
            f"tracking.uri must be a store that answers and can be written ({self.uri}; a finished result that is not "
            f"delivered stays in {self._outbox} and is delivered by the next run)"
        )
        return patiently(call, *arguments, seconds=self.patience, hint=hint)

    @property
    def _outbox(self) -> Path:
        return Path(self.outbox or f"{self.artifacts}/.outbox").absolute()

    @property
    def _locks(self) -> str:
        return claims_place(self.uri, self.locks, self._outbox)
