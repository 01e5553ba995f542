"""The report as one HTML file that opens from disk and needs no network."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis.evaluation.study import Study
from analysis.plots.embed import svg_address
from analysis.report.clouds import clouds
from analysis.report.evidence import ReportEvidence
from analysis.report.gallery import Drawing, all_panels, ranks
from analysis.report.limits import limits
from analysis.report.links import linked
from analysis.report.methods import own_notes
from analysis.report.overview import glyphs, overview_table, source_table, tiles
from analysis.report.stability import stability_tables
from analysis.tables.tables import target_table, truth_table
from analysis.tables.verdict import verdict

TEMPLATES = Path(__file__).parents[1] / "templates"


def page(study: Study, evidence: ReportEvidence, drawings: Iterable[Drawing]) -> str:
    """Render the report as HTML.

    Args:
        study: The result of `correlate`.
        evidence: What the report shows in addition to the study.
        drawings: The figures, see `analysis.report.gallery`.

    Returns:
        The page, with styles, scripts and pictures embedded.
    """
    figures = [
        {"name": drawing.name, "section": drawing.section, "address": svg_address(drawing.figure), "alt": drawing.alt,
         "caption": drawing.caption, "wide": drawing.figure.get_figwidth() > 9}
        for drawing in drawings
        if drawing.on_page
    ]  # fmt: skip
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            study=study,
            evidence=evidence,
            verdict=verdict(study),
            tiles=tiles(study),
            overview=overview_table(study),
            glyphs=glyphs(study),
            truth=truth_table(study),
            by_target=[target_table(study, measure=measure) for measure in ("weighted_kendall", "pearson")],
            sources=source_table(study),
            stability=stability_tables(study),
            figures=_by_section(figures),
            ranks=ranks(study),
            clouds={} if all_panels(study) else clouds(study),
            all_panels=all_panels(study),
            limits=limits(study, evidence),
            own_notes=own_notes(),
        )
    )


def _by_section(figures: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    ordered = sorted(figures, key=lambda figure: str(figure["section"]))
    return {section: list(group) for section, group in groupby(ordered, key=lambda figure: str(figure["section"]))}


def template_digest() -> str:
    """SHA-256 of the templates, so that a finished page is made again when a template changes."""
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sorted(TEMPLATES.iterdir()))).hexdigest()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["linked"] = linked
    environment.filters["embedded_json"] = _embedded_json
    return environment


def _embedded_json(content: Any) -> Markup:
    """JSON that is safe inside a script element: it contains no `<`."""
    return Markup(json.dumps(content, separators=(",", ":")).replace("<", "\\u003c"))
