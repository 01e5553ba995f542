"""The provenance of a study from its runs: commits, package versions, hardware, data, seeds and settings."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmark.tracking.records import Row

SHORT = 12  # digits of a commit or a digest
# Settings that decide what was measured, unlike folders, addresses and the tracking store.
MEASUREMENT_SETTINGS = ("suite", "trainer", "stream", "metric", "resamples", "seed")


Download = Callable[[str, str, Path], Path]  # run, path of the artifact, folder -> path of the downloaded artifact


@dataclass(frozen=True)
class Facts:
    """A titled group of facts.

    Attributes:
        title: The title.
        rows: Pairs of label and value.
    """

    title: str
    rows: tuple[tuple[str, str], ...]


def provenance_facts(download: Download, rows: Mapping[str, Sequence[Row]], folder: Path) -> tuple[Facts, ...]:
    """Collect the facts stored with the runs.

    Args:
        download: Fetches an artifact of a run.
        rows: Stage -> the rows of the study.
        folder: The folder for downloads.

    Returns:
        Groups of facts: runs and code, each machine's packages and hardware, data, seeds.
    """
    every = [row for stage in rows.values() for row in stage]
    runs = tuple((stage, _runs(found)) for stage, found in rows.items() if found)
    code = tuple((f"commit {commit}", f"{count} runs") for commit, count in _commits(every).most_common())
    data = tuple(
        (row.params["task"], row.tags.get("data_digest", "unknown")[:SHORT]) for row in rows.get("prepare", ())
    )
    seeds = tuple((f"{stage} seeds", _seeds(found)) for stage, found in rows.items() if _seeds(found))
    groups = [Facts("Runs", runs), Facts("Code", code), *_machines(download, every, folder)]
    groups += [Facts("Data, by SHA-256 (first digits)", data), Facts("Seeds", seeds)]
    return tuple(group for group in groups if group.rows)


def settings_text(settings: Mapping[str, Any]) -> str:
    """The settings that decide what was measured, as YAML.

    Args:
        settings: The command's resolved config.

    Returns:
        The text.
    """
    shown = {name: settings[name] for name in MEASUREMENT_SETTINGS if name in settings}
    text: str = yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=100)
    return text


def _runs(rows: Sequence[Row]) -> str:
    seconds = sum(row.metrics.get("seconds", row.metrics.get("seconds/pass", 0.0)) for row in rows)
    return f"{len(rows)} runs" + (f", {seconds / 60:.1f} min of computing" if seconds else "")


def _commits(rows: Sequence[Row]) -> "Counter[str]":
    changed = {"true": " with uncommitted changes"}
    return Counter(
        row.tags.get("git_commit", "unknown")[:SHORT] + changed.get(row.tags.get("git_dirty", ""), "") for row in rows
    )


def _seeds(rows: Sequence[Row]) -> str:
    seeds = {int(row.params["seed"]) for row in rows if "seed" in row.params}
    return ", ".join(map(str, sorted(seeds)))


def _machines(download: Download, rows: Sequence[Row], folder: Path) -> list[Facts]:
    """The packages and hardware of each machine, from its newest run."""
    newest = {row.tags.get("host", ""): row for row in rows if row.run}
    groups = []
    for place, row in enumerate(newest.values(), start=1):
        path = download(row.run, "job.json", folder / row.run)
        machine = json.loads(path.read_text(encoding="utf-8"))["environment"]
        facts = [("python", machine["python"]), *machine["packages"].items()]
        facts += [("processor", f"{machine['processor']}, {machine['cores']} cores, {machine['machine']}")]
        title = "Packages and hardware" + (f", machine {place}" if len(newest) > 1 else "")
        groups.append(Facts(title, tuple((str(name), str(value)) for name, value in facts)))
    return groups
