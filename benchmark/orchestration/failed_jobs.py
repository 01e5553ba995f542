"""The list of failed jobs, printed at the end of a bench and read by `--retry failed`."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmark.errors import InputError, one_line
from benchmark.jobs.cli import message_of
from benchmark.orchestration.planner import Job
from benchmark.storage.files import read_json, write_json

FILE = "failed.json"


@dataclass(frozen=True)
class FailedJob:
    """A job that did not finish.

    Attributes:
        job: Its overrides.
        keys: The keys of its runs.
        error: The first line of its error.
        log: Its log file.
        bad_input: Whether the cause is bad input, which the user can correct.
    """

    stage: str
    job: str
    keys: tuple[str, ...]
    error: str
    log: str
    bad_input: bool

    def __str__(self) -> str:
        keys = ", ".join(key[:16] for key in self.keys)
        return f"{self.stage} {self.job}: {self.error} (key: {keys}; log: {self.log})"


def failed_job(stage: str, job: Job, error: BaseException, log: str) -> FailedJob:
    """Describe a job that raised; of a programming error, only the first line is kept."""
    bad_input = message_of(error) is not None
    line = one_line(error) if bad_input else one_line(error).partition("; ")[0]
    return FailedJob(stage, " ".join(job.overrides), job.keys, line, log, bad_input)


def write_failed(failed: Iterable[FailedJob], folder: Path) -> None:
    """Write the list to the folder that all benches share; an empty list means that nothing failed."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / FILE, [asdict(job) for job in failed])


def failed_keys(folder: Path) -> set[str]:
    """Read the keys of the jobs that failed in the last bench.

    Raises:
        InputError: No bench was run, or no job failed.
    """
    path = folder / FILE
    listed: Sequence[dict[str, Sequence[str]]] = read_json(path) if path.is_file() else []
    if not listed:
        raise InputError(f"retry=failed: no failed jobs are listed in {path}")
    return {key for job in listed for key in job["keys"]}
