"""What the report shows in addition to the study: pictures, parts of scores, method notes, provenance, limitations."""

import inspect
import io
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pandas as pd
import yaml
from hydra.utils import get_class
from PIL import Image

from analysis.evaluation.layer_parts import layer_terms
from analysis.evaluation.study import Study
from analysis.plots.style import data_uri
from analysis.tables.protocol import protocol_table, read_protocol
from analysis.tables.tables import Table
from analysis.truth.pools import Pool
from benchmark.storage.files import read_json
from benchmark.tracking.records import PART, SECONDS, Row

SHORT = 12  # digits of a commit or a digest
# Settings that decide what was measured, unlike folders, addresses and the tracking store.
MEASUREMENT_SETTINGS = ("suite", "trainer", "stream", "metric", "resamples", "seed")
WIDEST = 640  # pixels
CASES = "cases_"  # metrics of the stage prepare: the number of cases of a split
MOST_TARGETS = 20  # targets whose predictions are shown
FILE = re.compile(r"(best|worst)_(.+)_dice(nan|[\d.]+)\.png")
# Subject -> module whose docstring explains it, in reading order.
OWN = {
    "agreement": "analysis.agreement.rank_measures",
    "reliability": "analysis.truth.reliability",
    "ceiling": "analysis.truth.ceiling",
    "intervals": "analysis.agreement.intervals",
    "gain": "analysis.truth.gain",
    "longer training": "analysis.truth.scratch_budget",
    "repeated pre-training": "analysis.evaluation.repeated",
    "controls": "analysis.evaluation.controls",
    "short fine-tuning": "analysis.evaluation.short_fine_tuning",
    "replayed races": "analysis.evaluation.race_replay",
    "strategies": "analysis.evaluation.race_strategies",
    "critical difference": "analysis.agreement.critical_difference",
    "CC-FV by layer": "analysis.evaluation.layer_parts",
}

Facts = Sequence[tuple[str, str]]  # pairs of label and value
Download = Callable[[str, str, Path], Path]  # run, path of the artifact, folder -> path of the downloaded artifact


@dataclass(frozen=True)
class Picture:
    """An image with its texts.

    Attributes:
        task: The task, or the target.
        alt: The text for readers who cannot see the image.
        caption: The line below it.
        address: The image as a data URI.
    """

    task: str
    alt: str
    caption: str
    address: str


@dataclass(frozen=True)
class Block:
    """A paragraph, or a formula that keeps its line breaks.

    Attributes:
        kind: "text" or "formula".
        text: The content.
    """

    kind: Literal["text", "formula"]
    text: str


@dataclass(frozen=True)
class Method:
    """A note read from a module's docstring.

    Attributes:
        name: The metric's name, or the subject.
        title: The first line of the docstring.
        blocks: The rest of the docstring.
    """

    name: str
    title: str
    blocks: tuple[Block, ...]


def _no_terms() -> pd.DataFrame:
    return layer_terms(pd.DataFrame(columns=["source", "target", "name", "value"]))


@dataclass(frozen=True)
class ReportEvidence:
    """What the runs of a study contain in addition to its figures; empty fields are left out of the page.

    Attributes:
        suite: The suite's name.
        limits: The limitations that the suite states, a sentence or two each.
        terms: The result of `analysis.evaluation.layer_parts.layer_terms`.
        tasks: A picture of each task.
        predictions: Pictures of predictions.
        methods: The notes on the metrics.
        facts: The provenance: title -> facts.
        settings: The settings as YAML.
        external: Lines that compare the truth with another patient.
        from_files: Whether truth and scores come from CSV files, so that there is neither a suite nor a run.
        pairs: On which pairs of source and target all is compared; "" for those of the suite.
        left_out: The pairs that are left out; None for a suite.
        protocol: The facts of the protocol that the suite follows; None if it states none.
    """

    suite: str
    limits: tuple[str, ...] = ()
    terms: pd.DataFrame = field(default_factory=_no_terms)
    tasks: tuple[Picture, ...] = ()
    predictions: tuple[Picture, ...] = ()
    methods: tuple[Method, ...] = ()
    facts: Mapping[str, Facts] = field(default_factory=dict)
    settings: str = ""
    external: tuple[str, ...] = ()
    from_files: bool = False
    pairs: str = ""
    left_out: Table | None = None
    protocol: Table | None = None


def gather(
    study: Study,
    download: Download,
    rows: Mapping[str, Sequence[Row]],
    *,
    settings: Mapping[str, Any],
    external: Sequence[str] = (),
    recorded: Sequence[str] = (),
) -> ReportEvidence:
    """Fetch what the report shows in addition to the study.

    Args:
        study: The study.
        download: Fetches an artifact of a run.
        rows: Stage -> the rows of the study, for prepare, pretrain, truth and score; stages may be missing.
        settings: The command's resolved config, with suite and metric.
        external: Lines that compare the truth with another patient.
        recorded: Lines on runs with other settings than the protocol states.
    """
    facts = read_protocol(settings["suite"].get("protocol"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return ReportEvidence(
            suite=str(settings["suite"]["name"]),
            limits=tuple(map(str, settings["suite"].get("limits", ()))),
            terms=layer_terms(_parts(rows.get("score", ()))),
            tasks=task_pictures(download, rows.get("prepare", ()), folder),
            predictions=prediction_pictures(download, rows.get("truth", ()), study.pools, folder),
            methods=metric_notes(settings["metric"]),
            facts=provenance_facts(download, rows, folder),
            settings=settings_text(settings),
            external=tuple(external),
            protocol=protocol_table(facts, recorded) if facts else None,
        )


def _parts(rows: Sequence[Row]) -> pd.DataFrame:
    parts = [
        (row.params["source"], row.params["target"], name, value)
        for row in rows
        for name, value in row.metrics.items()
        if name.startswith(PART)
    ]
    return pd.DataFrame(parts, columns=["source", "target", "name", "value"])


def task_pictures(download: Download, rows: Iterable[Row], folder: Path) -> tuple[Picture, ...]:
    """A picture of each prepared task; none for a run of the stage prepare without a picture."""
    pictures = []
    for row in rows:
        task = row.params["task"]
        for path in _fetched(download, row, folder):
            cases = ", ".join(
                f"{number:.0f} {name.removeprefix(CASES).replace('_', ' ')}"
                for name, number in row.metrics.items()
                if name.startswith(CASES)
            )
            alt = f"Three slices through a case of {task}, its labels outlined in orange"
            pictures.append(Picture(task, alt, f"{task}: {cases} cases", embedded(path)))
    return tuple(pictures)


def prediction_pictures(
    download: Download, rows: Sequence[Row], pools: Sequence[Pool], folder: Path
) -> tuple[Picture, ...]:
    """The best and the worst test case of each target's best source, at most 20 targets, from runs of the stage truth.

    Two pictures per target, of the first seed; none for a run without pictures.
    """
    runs = {(row.params["target"], row.params["tune"], row.params["source"], row.params["seed"]): row for row in rows}
    pictures = []
    for pool in [pool for pool in pools if pool.sources][:MOST_TARGETS]:
        best = pool.sources[int(pool.mean.argmax())]
        row = runs.get((pool.target, pool.tune, best, str(pool.seeds[0])))
        for path in _fetched(download, row, folder) if row else []:
            if match := FILE.fullmatch(path.name):
                kind, _, dice = match.groups()
                caption = f"{pool.target}, {kind} test case of its best source {best}: Dice {dice}"
                alt = f"Three slices, labels outlined in orange, the prediction in blue. {caption}"
                pictures.append(Picture(pool.target, alt, caption, embedded(path)))
    return tuple(pictures)


def embedded(path: Path) -> str:
    """An image file as a data URI, at most 640 pixels wide."""
    with Image.open(path) as image:
        image.thumbnail((WIDEST, WIDEST))
        stream = io.BytesIO()
        image.convert("RGB").save(stream, format="WEBP", quality=85)
    return data_uri(stream.getvalue(), "webp")


def _fetched(download: Download, row: Row, folder: Path) -> list[Path]:
    return sorted(download(row.run, "pictures", folder / row.run).glob("*.png"))


def provenance_facts(download: Download, rows: Mapping[str, Sequence[Row]], folder: Path) -> dict[str, Facts]:
    """The facts stored with the runs of each stage: runs, code, each machine's packages and hardware, data, seeds."""
    every = [row for stage in rows.values() for row in stage]
    tasks = {row.params["task"]: row.tags.get("data_digest", "unknown")[:SHORT] for row in rows.get("prepare", ())}
    groups: dict[str, Facts] = {
        "Runs": [(stage, _runs(own)) for stage, own in rows.items() if own],
        "Code": [(f"commit {commit}", f"{count} runs") for commit, count in _commits(every).most_common()],
        **_machines(download, every, folder),
        "Data, by SHA-256 (first digits)": list(tasks.items()),
        "Seeds": [(f"{stage} seeds", _seeds(own)) for stage, own in rows.items() if _seeds(own)],
    }
    return {title: facts for title, facts in groups.items() if facts}


def settings_text(settings: Mapping[str, object]) -> str:
    """The settings that decide what was measured, as YAML; `settings` is the command's resolved config."""
    shown = {name: settings[name] for name in MEASUREMENT_SETTINGS if name in settings}
    return yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=100)


def _runs(rows: Sequence[Row]) -> str:
    passes = [f"{SECONDS}pass", f"{SECONDS}second_pass"]
    seconds = sum(row.metrics.get("seconds", sum(row.metrics.get(name, 0.0) for name in passes)) for row in rows)
    return f"{len(rows)} runs" + (f", {seconds / 60:.1f} min of computing" if seconds else "")


def _commits(rows: Sequence[Row]) -> "Counter[str]":
    changed = {"true": " with uncommitted changes"}
    return Counter(
        row.tags.get("git_commit", "unknown")[:SHORT] + changed.get(row.tags.get("git_dirty", ""), "") for row in rows
    )


def _seeds(rows: Sequence[Row]) -> str:
    return ", ".join(map(str, sorted({int(row.params["seed"]) for row in rows if "seed" in row.params})))


def _machines(download: Download, rows: Sequence[Row], folder: Path) -> dict[str, Facts]:
    newest = {row.tags.get("host", ""): row for row in rows if row.run}
    groups: dict[str, Facts] = {}
    for place, row in enumerate(newest.values(), start=1):
        machine = read_json(download(row.run, "job.json", folder / row.run))["environment"]
        packages = [(str(name), str(version)) for name, version in machine["packages"].items()]
        processor = f"{machine['processor']}, {machine['cores']} cores, {machine['machine']}"
        title = "Packages and hardware" + (f", machine {place}" if len(newest) > 1 else "")
        groups[title] = [("python", str(machine["python"])), *packages, ("processor", processor)]
    return groups


def metric_notes(metrics: Mapping[str, Mapping[str, object]]) -> tuple[Method, ...]:
    """A note per metric, from the docstring of the class's module.

    Args:
        metrics: Name -> its settings, with `_target_`.
    """
    return tuple(
        _note(name, sys.modules[get_class(str(node["_target_"])).__module__]) for name, node in metrics.items()
    )


def own_notes() -> tuple[Method, ...]:
    """The notes on agreement, truth and controls."""
    return tuple(_note(name, import_module(module)) for name, module in OWN.items())


def blocks(text: str) -> tuple[Block, ...]:
    r"""Split a docstring into paragraphs; indented paragraphs are formulas. Its common indentation is removed.

    Example:
        >>> [(block.kind, block.text) for block in blocks("Says\nthis:\n\n    a = b\n\nand that.")]
        [('text', 'Says this:'), ('formula', 'a = b'), ('text', 'and that.')]
    """
    parts: list[Block] = []
    for paragraph in text.split("\n\n"):
        lines = [line for line in paragraph.splitlines() if line.strip()]
        if lines and all(line.startswith("    ") for line in lines):
            parts.append(Block("formula", inspect.cleandoc("\n".join(["", *lines]))))
        elif lines:
            parts.append(Block("text", " ".join(line.strip() for line in lines)))
    return tuple(parts)


def _note(name: str, module: ModuleType) -> Method:
    title, _, rest = inspect.cleandoc(module.__doc__ or "").partition("\n\n")
    return Method(name, " ".join(title.split()), blocks(rest))
