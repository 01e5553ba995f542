"""Write all files of a study: the page, the figures as PDF and PNG, the tables as CSV, Markdown and LaTeX.

The page is one HTML file that opens from disk and needs no network.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from analysis.evaluation.layer_parts import term_agreement
from analysis.evaluation.study import Study
from analysis.plots.style import PIXELS, data_uri
from analysis.report.evidence import Download, ReportEvidence, own_notes
from analysis.report.gallery import Drawing, all_panels, clouds, drawings
from analysis.report.sections import glyphs, limits, source_table, stability_tables, tiles
from analysis.tables.latex_table import latex_table
from analysis.tables.published_tables import published_tables
from analysis.tables.race_tables import race_sentences, race_tables
from analysis.tables.repeated_tables import repeated_sentence, repeated_tables
from analysis.tables.study_tables import PRIMARY, overview_table, study_latex, study_markdown, target_table
from analysis.tables.truth_tables import budget_tables, gain_table_of, one_seed_note, truth_table
from analysis.tables.verdict import verdict
from benchmark.storage.files import write_text
from benchmark.tracking.records import Row

TEMPLATES = Path(__file__).parents[1] / "templates"
SALT = "figure"  # fixed, so that the same study gives the same bytes
CITED = re.compile(r"(?P<arxiv>arXiv[: ]\d{4}\.\d{4,5})|(?P<doi>doi[: ]10\.\d{4,}/[^\s;,]+[\w)])")
PAGE, PDF, LATEX = "report.html", "figures.pdf", "table1.tex"
BELOW = "study"
IMAGES = ("agreement", "dice", "critical_difference", "cost", "ccfv_terms")  # the figures that are also PNG


def write_report(study: Study, evidence: ReportEvidence, *, output: Path) -> list[Path]:
    """Write the page, figures and Table 1 to a folder, tables and images to `study/<suite>` below it; return the paths.

    The page comes first.
    """
    folder = output / BELOW / evidence.suite
    folder.mkdir(parents=True, exist_ok=True)
    made = list(drawings(study, evidence))
    for drawing in made:
        settle(drawing.figure)
    top = [output / name for name in (PAGE, PDF, LATEX)]
    write_text(top[0], page(study, evidence, made))
    write_pdf([drawing.figure for drawing in made], top[1])
    write_text(top[2], latex_table(study))
    texts = _texts(study, evidence)
    for name, text in texts.items():
        write_text(folder / name, text)
    below = [folder / name for name in texts]
    for drawing in made:
        if drawing.name in IMAGES:
            below.append(folder / f"{drawing.name}.png")
            drawing.figure.savefig(below[-1], dpi=PIXELS)
    return [*top, *below]


def restore_report(download: Download, summary: Row, *, output: Path) -> None:
    """Download the files of a finished report from the run of its stage summary to where they were written."""
    for name in (PAGE, PDF, LATEX, BELOW):
        download(summary.run, name, output)


def settle(figure: Figure) -> None:
    """Compute the layout once, not for every file; later changes to the figure do not update it."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def write_pdf(figures: Iterable[Figure], path: Path) -> None:
    """Write figures to a PDF, one per page."""
    with PdfPages(path, metadata={"CreationDate": None}) as pages:
        for figure in figures:
            pages.savefig(figure, dpi=PIXELS)


def _texts(study: Study, evidence: ReportEvidence) -> dict[str, str]:
    names = ("agreement", "scores", "reliability", "gain", "sources", "comparisons", "stability", "ranks", "gaps")
    frames = {name: getattr(study, name) for name in names} | {"truth": _truth(study)}
    frames |= {} if study.budget.empty else {"scratch_budget": study.budget}
    frames |= {"repeated": study.repeated.table} if study.repeated else {}
    frames |= {"race": pd.concat([study.race.rows, study.race.means])} if study.race else {}
    if not evidence.terms.empty:
        frames |= {"ccfv_terms": evidence.terms, "ccfv_terms_agreement": term_agreement(study, evidence.terms)}
    frames |= {} if study.rungs.empty else {"rungs": study.rungs}
    texts = {f"{name}.csv": frame.to_csv(index=False) for name, frame in frames.items()}
    return {"table.md": study_markdown(study), "table.tex": study_latex(study)} | texts


def _truth(study: Study) -> pd.DataFrame:
    parts = [
        pd.DataFrame(pool.dice, index=pd.Index(pool.sources, name="source"), columns=list(pool.seeds))
        .melt(ignore_index=False, var_name="seed", value_name="dice")
        .reset_index()
        .assign(target=pool.target, tune=pool.tune)
        for pool in (*study.pools, *study.other_pools)
    ]
    return pd.concat(parts, ignore_index=True)[["source", "target", "tune", "seed", "dice"]]


def page(study: Study, evidence: ReportEvidence, drawings: Iterable[Drawing]) -> str:
    """Render the report as HTML, with styles, scripts and pictures embedded."""
    figures: dict[str, list[dict[str, object]]] = {}
    for drawing in drawings:
        if drawing.on_page:
            figures.setdefault(drawing.section, []).append(
                {
                    "name": drawing.name,
                    "address": svg_address(drawing.figure),
                    "alt": drawing.alt,
                    "caption": drawing.caption,
                    "wide": drawing.figure.get_figwidth() > 9,
                }
            )
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
            gain=gain_table_of(study),
            budget=budget_tables(study),
            repeated=repeated_tables(study),
            repeated_sentence=repeated_sentence(study),
            race=race_tables(study),
            race_sentences=race_sentences(study),
            truth=truth_table(study),
            by_target=[target_table(study, measure=measure) for measure in (PRIMARY, "pearson")],
            published=published_tables(study),
            one_seed=one_seed_note(study),
            sources=source_table(study),
            stability=stability_tables(study),
            figures=figures,
            clouds={} if all_panels(study) else clouds(study),
            all_panels=all_panels(study),
            limits=list(limits(study, evidence)),
            own_notes=own_notes(),
        )
    )


def svg_address(figure: Figure) -> str:
    """The figure as SVG in a data URI; text is drawn as paths, so it looks the same everywhere."""
    stream = io.BytesIO()
    with rc_context({"svg.hashsalt": SALT, "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", dpi=PIXELS, metadata={"Date": None})
    return data_uri(stream.getvalue(), "svg+xml")


def linked(text: str) -> Markup:
    """Escape a plain text and turn its arXiv ids and DOIs into links.

    Example:
        >>> print(linked("Yang et al., arXiv 2307.11958, a < b"))
        Yang et al., <a href="https://arxiv.org/abs/2307.11958">arXiv 2307.11958</a>, a &lt; b
    """
    parts, start = [], 0
    for match in CITED.finditer(text):
        cited = match.group()
        site, identifier = ("https://arxiv.org/abs/", cited[6:]) if match["arxiv"] else ("https://doi.org/", cited[4:])
        link = Markup('<a href="{}">{}</a>').format(site + identifier, cited)
        parts += [escape(text[start : match.start()]), link]
        start = match.end()
    return Markup("").join([*parts, escape(text[start:])])


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


def _embedded_json(content: object) -> Markup:
    """JSON that is safe inside a script element: it contains no `<`."""
    return Markup(json.dumps(content, separators=(",", ":")).replace("<", "\\u003c"))
