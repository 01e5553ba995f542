"""What the report shows in addition to the study: pictures, parts of scores, method notes, provenance, limitations."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.evaluation.layer_parts import layer_terms
from analysis.evaluation.study import Study
from analysis.report.methods import Method, metric_notes
from analysis.report.pictures import Picture, prediction_pictures, task_pictures
from analysis.report.provenance import Download, Facts, provenance_facts, settings_text
from benchmark.tracking.records import Row


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
        facts: The provenance.
        settings: The settings as YAML.
        external: Lines that compare the truth with another patient.
    """

    suite: str
    limits: tuple[str, ...] = ()
    terms: pd.DataFrame = field(default_factory=_no_terms)
    tasks: tuple[Picture, ...] = ()
    predictions: tuple[Picture, ...] = ()
    methods: tuple[Method, ...] = ()
    facts: tuple[Facts, ...] = ()
    settings: str = ""
    external: tuple[str, ...] = ()


def gather(
    study: Study,
    download: Download,
    rows: Mapping[str, Sequence[Row]],
    *,
    settings: Mapping[str, Any],
    external: Sequence[str] = (),
) -> ReportEvidence:
    """Fetch what the report shows in addition to the study.

    Args:
        study: The result of `correlate`.
        download: Fetches an artifact of a run.
        rows: Stage -> the rows of the study, for prepare, pretrain, truth and score; stages may be missing.
        settings: The command's resolved config, with suite and metric.
        external: Lines that compare the truth with another patient.

    Returns:
        The evidence.
    """
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
        )


def _parts(rows: Sequence[Row]) -> pd.DataFrame:
    found = [
        (row.params["source"], row.params["target"], name, value)
        for row in rows
        for name, value in row.metrics.items()
        if name.startswith("part/")
    ]
    return pd.DataFrame(found, columns=["source", "target", "name", "value"])
