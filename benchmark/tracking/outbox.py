"""Outbox: results of jobs on disk until they are delivered to the tracking store.

A running job writes to a draft folder. At its end the draft is fsynced and renamed to a parcel, which is delivered
once. A job that dies leaves only a draft, which is never read.
"""

import json
import os
import shutil
import time
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmark.storage.files import flush, write_json
from benchmark.tracking.records import Data

ROW = "row.json"
FILES = "artifacts"
NOTE = "mlflow.note.content"  # the tag that MLflow shows as a description, in Markdown


@dataclass(frozen=True)
class Parcel:
    """A complete result that waits for delivery.

    Attributes:
        folder: Contains the row and the artifacts.
    """

    folder: Path

    @property
    def row(self) -> dict[str, Any]:
        """experiment, key, name, start, end, status, params, metrics, tags, data; state of delivery: tried, run."""
        row: dict[str, Any] = json.loads((self.folder / ROW).read_text(encoding="utf-8"))
        return row

    @property
    def files(self) -> Path:
        """The folder of the artifacts."""
        return self.folder / FILES

    def belongs(self, key: str, experiment: str) -> bool:
        """Whether this is the result of a job of an experiment; experiments may share an outbox."""
        return self.folder.name == key and self.row.get("experiment", experiment) == experiment

    def note(self, **facts: Any) -> None:
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
    def begin(cls, outbox: Path, key: str, **row: Any) -> Self:
        """Create an empty draft, after deleting drafts of dead jobs with the same key.

        Args:
            outbox: The folder of drafts and parcels.
            key: The job's key, which the caller has claimed.
            **row: Known fields of the row: experiment, name, tags.
        """
        remove_drafts(outbox, key)
        folder = outbox / f".{key}.{os.getpid()}"
        (folder / FILES).mkdir(parents=True)
        return cls(
            folder,
            {
                "key": key,
                "start": now(),
                "params": {},
                "metrics": [],
                "tags": {},
                "data": [],
                "tried": False,
                "run": "",
                **row,
            },
        )

    def log(
        self,
        *,
        params: Mapping[str, Any] | None = None,
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

    def json(self, content: Any, name: str) -> None:
        """Add a JSON artifact."""
        self.text(json.dumps(content, indent=1, default=str), name)

    def text(self, content: str, name: str) -> None:
        """Add a text artifact."""
        path = self.folder / FILES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")

    def seal(self, status: str) -> Parcel:
        """Turn the draft into a parcel that is ready for delivery.

        Args:
            status: FINISHED, FAILED or KILLED.
        """
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

    def drop(self) -> None:
        """Delete the draft."""
        shutil.rmtree(self.folder, ignore_errors=True)


def waiting(outbox: Path) -> list[Parcel]:
    """Parcels that wait for delivery, oldest first."""
    parcels = []
    for path in outbox.glob("[!.]*") if outbox.is_dir() else []:
        with suppress(FileNotFoundError, NotADirectoryError):  # another process is delivering it
            parcels.append(((path / ROW).stat().st_mtime, path))
    return [Parcel(path) for _, path in sorted(parcels)]


def remove_leftovers(outbox: Path, finished: Container[str]) -> None:
    """Delete drafts of finished keys, and remains of delivered parcels."""
    for path in outbox.glob(".*"):
        if path.name[1:].partition(".")[0] in finished or path.name.endswith(".gone"):
            shutil.rmtree(path, ignore_errors=True)


def remove_drafts(outbox: Path, key: str) -> None:
    """Delete drafts of dead jobs with a key, which the caller has claimed."""
    for path in outbox.glob(f".{key}.*"):
        shutil.rmtree(path, ignore_errors=True)


def now() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)
