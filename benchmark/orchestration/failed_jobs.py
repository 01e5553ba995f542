"""What failed, for the reader at the end and for `--retry failed` afterwards."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmark.errors import InputError

FILE = "failed.json"


@dataclass(frozen=True)
class FailedJob:
    """A job that did not finish.

    Attributes:
        stage: Its stage.
        job: Its overrides.
        keys: The keys that it was to finish.
        error: The first line of its error.
        log: Its log file.
        bad_input: Whether the user can mend it.
    """

    stage: str
    job: str
    keys: tuple[str, ...]
    error: str
    log: str
    bad_input: bool

    def __str__(self) -> str:
        """One line for the list at the end."""
        keys = ", ".join(key[:16] for key in self.keys)
        return f"{self.stage} {self.job}: {self.error} (key: {keys}; log: {self.log})"


def write_failed(failed: Iterable[FailedJob], folder: Path) -> None:
    """Keep the list; an empty one says that nothing failed.

    Args:
        failed: The jobs.
        folder: Where benches keep what they leave.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{FILE}"
    partial.write_text(json.dumps([asdict(job) for job in failed], indent=1), encoding="utf-8")
    partial.rename(folder / FILE)


def failed_keys(folder: Path) -> set[str]:
    """The keys of the jobs that failed when a bench last ran here.

    Raises:
        InputError: No bench ran here, or nothing failed.
    """
    path = folder / FILE
    listed: Sequence[dict[str, Sequence[str]]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    if not listed:
        raise InputError(f"retry=failed needs failed jobs in {path}, got none")
    return {key for job in listed for key in job["keys"]}
