"""Store of results in an MLflow experiment: finds finished jobs, claims, writes and delivers new ones."""

import logging
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from uuid import uuid4

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Experiment, Run, ViewType
from mlflow.exceptions import MlflowException
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from benchmark.errors import InputError, one_line
from benchmark.jobs.provenance import provenance, rerun_command
from benchmark.tracking.artifacts import create_model, create_version, fetch_artifact, missing_file, quiet_mlflow
from benchmark.tracking.locks import claimed, claims_place, forget
from benchmark.tracking.outbox import Draft, Parcel, deliver, remove_leftovers, waiting
from benchmark.tracking.records import Row
from benchmark.tracking.retries import Result, patiently

__all__ = ["Store", "fetch_artifact", "row_of"]  # fetch_artifact: its former place, which yamls may name

PAGE = 1000  # rows per query; the limit of MLflow is 50000


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
        quiet_mlflow()
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # its errors are reported as InputError
        lock: AbstractContextManager[object] = nullcontext()
        if self.uri.startswith("sqlite:///"):
            path = Path(self.uri.removeprefix("sqlite:///")).absolute()
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(f"{path}.lock")  # two processes that create a store at once corrupt it
        with lock, self._opening():
            try:
                return MlflowClient(self.uri)
            except (MlflowException, SQLAlchemyError) as error:
                if "out-of-date" not in str(error):
                    raise
            subprocess.run([sys.executable, "-m", "mlflow", "db", "upgrade", self.uri], check=False)
            return MlflowClient(self.uri)  # fails if a newer MLflow created the store, so an upgrade cannot help

    @contextmanager
    def _opening(self) -> Iterator[None]:
        try:
            yield
        except (MlflowException, SQLAlchemyError) as error:
            raise InputError(f"cannot open the tracking store {self.uri}: {one_line(error)}") from error

    @cached_property
    def _experiment(self) -> Experiment:
        with self._opening():  # the first request to a server
            experiment = self._patiently(self.client.get_experiment_by_name, self.experiment)
        if experiment is None:
            location = None if self.uri.startswith("http") else Path(self.artifacts).absolute().as_uri()
            with suppress(MlflowException):  # another process created it first
                self.client.create_experiment(self.experiment, artifact_location=location)
            experiment = self.client.get_experiment_by_name(self.experiment)
        if experiment is None or experiment.lifecycle_stage != "active":
            raise InputError(f"experiment {self.experiment} of {self.uri} is deleted; set another tracking.experiment")
        return experiment

    def mark_experiment(self, tags: Mapping[str, str]) -> None:
        """Set tags of the experiment; MLflow shows `mlflow.note.content` as a description, in Markdown."""
        for name, value in tags.items():
            self.client.set_experiment_tag(self.prepare(), name, value)

    def mark_run(self, run: str, *, name: str, tags: Mapping[str, str]) -> None:
        """Rename a run, given by the store's identifier, and set its tags."""
        self.client.update_run(run, name=name)
        for tag, value in tags.items():
            self.client.set_tag(run, tag, value)

    def finished(self, stage: str | None = None) -> dict[str, Row]:
        """Finished jobs, of one stage or of all, by key; the newest run of each job."""
        return {row.key: row for row in self._search(f" and tags.stage = '{stage}'" if stage else "")}

    def find(self, value: str, *, tag: str = "job_key") -> Row | None:
        """The newest finished run of the job with this key, or with this value of another tag; None without one."""
        return next(reversed(list(self._search(f" and tags.{tag} = '{value}'"))), None)

    def _search(self, condition: str) -> Iterator[Row]:
        if missing_file(self.uri):  # a new store has no rows, and reading creates no file
            return
        where = "attributes.status = 'FINISHED'" + condition
        ours, order = [self._experiment.experiment_id], ["attributes.start_time ASC"]
        token = None
        while token != "":
            page = self._patiently(self.client.search_runs, ours, where, ViewType.ACTIVE_ONLY, PAGE, order, token)
            yield from map(row_of, page)
            token = page.token or ""

    def download(self, run: str, path: str, folder: Path) -> Path:
        """Download an artifact of a run, a file or a folder, into `folder` and return its path.

        Raises:
            InputError: The artifact does not exist, or cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        hint = f"cannot download the artifact {path} of run {run} of {self.uri} to {folder}"
        download = self.client.download_artifacts
        try:
            return Path(patiently(download, run, path, str(folder), seconds=self.patience, hint=hint))
        except MlflowException as error:  # raised for a missing artifact and for a full disk alike
            free = shutil.disk_usage(folder).free // 2**20
            raise InputError(f"{hint} ({free} MB free): {one_line(error)}") from error

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
            own = [
                parcel
                for parcel in waiting(self._outbox)  # which experiments may share
                if parcel.folder.name == key and parcel.row.get("experiment", self.experiment) == self.experiment
            ]
            for parcel in own:
                self._patiently(self._deliver, parcel)
            yield len(own)
        if self.find(key) is not None:
            forget(key, self._locks)

    def nest(self, parent: str, runs: Sequence[str]) -> None:
        """Show runs below another one in MLflow; `parent` and `runs` are the store's identifiers."""
        for run in runs:
            self.tag(run, "mlflow.parentRunId", parent)

    def discard(self, run: str) -> None:
        """Move a run to MLflow's deleted runs, where it is not found as finished."""
        self._patiently(self.client.delete_run, run)

    def tag(self, run: str, name: str, value: str) -> None:
        """Set a tag of a run that is in the store already."""
        self._patiently(self.client.set_tag, run, name, value)

    def register(self, name: str, folder: Path, *, run: str) -> int:
        """Make a folder a new version of a registered model, which is created if it is missing.

        Args:
            name: The registered model.
            folder: The folder, which is logged as an artifact of the run.
            run: The identifier of a run of the store.

        Returns:
            The version, which `models:/NAME/VERSION` addresses.

        Raises:
            InputError: MLflow takes no such name, there is no such folder or run, or the store is unavailable.
        """
        hint = f"cannot register {folder} as {name} in {self.uri}"
        if not folder.is_dir():
            raise InputError(f"{hint}: there is no such folder")
        call = partial(patiently, seconds=self.patience, hint=hint)
        try:
            call(create_model, self.client, name)
            return call(create_version, self.client, name, folder, run, uuid4().hex)
        except (MlflowException, OSError) as error:
            raise InputError(f"{hint}: {one_line(error)}") from error

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
        params: Mapping[str, object],
        config: Mapping[str, object],
        suite: str,
        parents: Mapping[str, str] | None = None,
    ) -> Iterator[Draft]:
        """Write the result of a job: FINISHED when the block ends, FAILED when it raises, KILLED when interrupted.

        The result is written to disk first and delivered when the block ends. If the store is unavailable, the next run
        of the job or of the bench delivers it.

        Args:
            stage: A `Stage` of benchmark.tracking.records.
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
            self._end(draft, "KILLED")
            raise
        except BaseException as error:
            draft.log(tags={"error": f"{type(error).__name__}: {error}"[:4000]})
            self._end(draft, "FAILED")
            raise
        draft.run_id = self._patiently(self._deliver, draft.seal("FINISHED"))

    def _end(self, draft: Draft, status: str) -> None:
        """Record an unfinished job without retrying, so that the error of the job itself is raised."""
        with suppress(OSError, MlflowException, RequestException):
            parcel = draft.seal(status)
            try:
                self._deliver(parcel)
            finally:
                parcel.remove()
        remove_leftovers(self._outbox, {draft.row["key"]})

    def _deliver(self, parcel: Parcel) -> str:
        """Write a parcel to the store, unless its job is already finished there, and delete it."""
        row = self.find(parcel.folder.name) if parcel.row["status"] == "FINISHED" else None
        run = row.run if row else deliver(parcel, self.client, str(self._experiment.experiment_id))
        parcel.remove()
        return run

    def _patiently(self, call: Callable[..., Result], *arguments: object) -> Result:
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


def row_of(run: Run) -> Row:
    """Convert a run to a row."""
    info, tags = run.info, dict(run.data.tags)
    return Row(
        stage=tags.get("stage", ""),
        key=tags.get("job_key", info.run_id),
        name=info.run_name or "",
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        tags=tags,
        run=info.run_id,
        seconds=(info.end_time - info.start_time) / 1000.0 if info.end_time else math.nan,
    )
