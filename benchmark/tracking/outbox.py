"""Outbox: results of jobs on disk until they are delivered to the tracking store.

A running job writes to a draft folder. At its end the draft is fsynced and renamed to a parcel, which is delivered
to MLflow once, as a run. A job that dies leaves only a draft, which is never read. Every step of a delivery can be
repeated: a second attempt continues with the run of the first.
"""

import json
import os
import shutil
import time
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, ViewType

from benchmark.storage.files import flush, read_json, write_json
from benchmark.tracking.records import Data

ROW = "row.json"
FILES = "artifacts"
NOTE = "mlflow.note.content"  # the tag that MLflow shows as a description, in Markdown


@dataclass(frozen=True)
class Parcel:
    """A complete result that waits for delivery: a folder with the row and the artifacts."""

    folder: Path

    @property
    def row(self) -> dict[str, Any]:
        """experiment, key, name, start, end, status, params, metrics, tags, data; state of delivery: tried, run."""
        return cast("dict[str, Any]", read_json(self.folder / ROW))

    def note(self, **facts: object) -> None:
        """Save the state of delivery, so that a second attempt continues from it."""
        write_json(self.folder / ROW, self.row | facts)

    def remove(self) -> None:
        """Delete the parcel after delivery."""
        gone = self.folder.with_name(f".{self.folder.name}.gone")
        shutil.rmtree(gone, ignore_errors=True)
        self.folder.rename(gone)  # a partly deleted folder must not look like a parcel
        shutil.rmtree(gone, ignore_errors=True)


@dataclass
class Draft:
    """A result that is being written.

    Attributes:
        folder: Where it is written.
        row: Content of the row file.
        run_id: The store's identifier of the run, set on delivery.
    """

    folder: Path
    row: dict[str, Any]
    run_id: str = ""

    @classmethod
    def begin(cls, outbox: Path, key: str, **row: object) -> Self:
        """Create an empty draft, after deleting drafts of dead jobs with the same key.

        Args:
            outbox: The folder of drafts and parcels.
            key: The job's key, which the caller has claimed.
            **row: Known fields of the row: experiment, name, tags.
        """
        remove_leftovers(outbox, {key})
        folder = outbox / f".{key}.{os.getpid()}"
        (folder / FILES).mkdir(parents=True)
        empty = {"params": {}, "metrics": [], "tags": {}, "data": [], "tried": False, "run": ""}
        return cls(folder, {"key": key, "start": now(), **empty, **row})

    def log(
        self,
        *,
        params: Mapping[str, object] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Add params, metrics and tags."""
        self.row["params"] |= {name: str(value) for name, value in (params or {}).items()}
        self.row["metrics"] += [[name, float(value), now(), 0] for name, value in (metrics or {}).items()]
        self.row["tags"] |= {name: str(value) for name, value in (tags or {}).items()}

    def describe(self, note: str, data: Sequence[Data] = ()) -> None:
        """Add the description that MLflow shows, in Markdown, and the data that the job reads."""
        self.log(tags={NOTE: note})
        self.row["data"] += [[item.name, item.digest, str(item.folder), item.use] for item in data]

    def curve(self, name: str, values: Sequence[float]) -> None:
        """Add one value per step, starting at step 1."""
        self.row["metrics"] += [[name, float(value), now(), step] for step, value in enumerate(values, 1)]

    def place(self, folder: str = "") -> Path:
        """Create a folder whose files become artifacts."""
        place = self.folder / FILES / folder
        place.mkdir(parents=True, exist_ok=True)
        return place

    def file(self, path: Path, folder: str = "") -> None:
        """Add a file, or all files of a folder, as artifacts."""
        place = self.place(folder)
        if path.is_dir():
            shutil.copytree(path, place, dirs_exist_ok=True)
        else:
            shutil.copy2(path, place)

    def json(self, content: object, name: str) -> None:
        """Add a JSON artifact."""
        self.text(json.dumps(content, indent=1, default=str), name)

    def text(self, content: str, name: str) -> None:
        """Add a text artifact."""
        path = self.folder / FILES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")

    def seal(self, status: str) -> Parcel:
        """Turn the draft into a parcel that is ready for delivery; `status` is FINISHED, FAILED or KILLED."""
        for path in self.folder.rglob("*"):
            if path.is_file():
                flush(path)
        write_json(self.folder / ROW, self.row | {"status": status, "end": now()})
        whole = self.folder.parent / self.row["key"]
        if whole.exists():
            Parcel(whole).remove()
        self.folder.rename(whole)
        flush(whole.parent)
        return Parcel(whole)


def waiting(outbox: Path) -> list[Parcel]:
    """Parcels that wait for delivery, oldest first."""
    parcels = []
    for path in outbox.glob("[!.]*") if outbox.is_dir() else []:
        with suppress(FileNotFoundError, NotADirectoryError):  # another process is delivering it
            parcels.append(((path / ROW).stat().st_mtime, path))
    return [Parcel(path) for _, path in sorted(parcels)]


def remove_leftovers(outbox: Path, keys: Container[str]) -> None:
    """Delete drafts of finished or claimed keys, and remains of delivered parcels."""
    for path in outbox.glob(".*"):
        if path.name[1:].partition(".")[0] in keys or path.name.endswith(".gone"):
            shutil.rmtree(path, ignore_errors=True)


def now() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


def deliver(parcel: Parcel, client: MlflowClient, experiment: str) -> str:
    """Write a parcel to a run of an experiment, given by its id, with the job's status; return the run's identifier."""
    row = parcel.row
    run = str(row["run"] or _begin(parcel, client, experiment))
    client.log_batch(
        run,
        [Metric(*values) for values in row["metrics"]],
        [Param(name, value) for name, value in row["params"].items()],
    )  # the run was created with its tags
    if inputs := [_input(*facts) for facts in row.get("data", [])]:  # absent in parcels of older versions
        client.log_inputs(run, inputs)
    if any((parcel.folder / FILES).iterdir()):
        client.log_artifacts(run, str(parcel.folder / FILES))
    client.set_terminated(run, row["status"], row["end"])
    return run


def _begin(parcel: Parcel, client: MlflowClient, experiment: str) -> str:
    """Create a run, or find the open run of an earlier attempt that was killed before it noted the identifier."""
    row = parcel.row
    if row["tried"]:
        where = f"attributes.status = 'RUNNING' and tags.job_key = '{row['key']}'"
        if begun := client.search_runs([experiment], where, ViewType.ACTIVE_ONLY, 1):
            return str(begun[0].info.run_id)
    parcel.note(tried=True)
    run = client.create_run(experiment, start_time=row["start"], tags=row["tags"]).info.run_id
    parcel.note(run=run)
    return str(run)


def _input(name: str, digest: str, folder: str, use: str) -> DatasetInput:
    data = Dataset(name, digest[:36], "local", json.dumps({"uri": folder}))  # MLflow keeps 36 characters of a digest
    return DatasetInput(data, [InputTag("mlflow.data.context", use)])
