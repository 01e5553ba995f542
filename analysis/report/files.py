"""Write all files of a study: the page, the figures as PDF and PNG, the tables as CSV, Markdown and LaTeX."""

from pathlib import Path

import pandas as pd

from analysis.evaluation.layer_parts import term_agreement
from analysis.evaluation.study import Study
from analysis.plots.embed import PIXELS, settle, write_pdf
from analysis.report.evidence import ReportEvidence
from analysis.report.gallery import drawings
from analysis.report.html import page
from analysis.report.provenance import Download
from analysis.tables.latex import latex_table
from analysis.tables.render import study_csv, study_markdown
from benchmark.tracking.records import Row

PAGE, PDF, LATEX = "report.html", "figures.pdf", "table1.tex"
BELOW = "study"
IMAGES = ("agreement", "dice", "critical_difference", "cost", "ccfv_terms")  # the figures that are also PNG


def write_report(study: Study, evidence: ReportEvidence, *, output: Path) -> list[Path]:
    """Write report.html, figures.pdf and table1.tex to a folder, and tables and images below it.

    Args:
        study: The result of `correlate`.
        evidence: What the report shows in addition to the study.
        output: The folder; tables and images go to `study/<suite>` below it.

    Returns:
        The files, the page first.
    """
    folder = output / BELOW / evidence.suite
    folder.mkdir(parents=True, exist_ok=True)
    made = list(drawings(study, evidence))
    for drawing in made:
        settle(drawing.figure)
    top = [output / name for name in (PAGE, PDF, LATEX)]
    top[0].write_text(page(study, evidence, made), encoding="utf-8")
    write_pdf([drawing.figure for drawing in made], top[1])
    top[2].write_text(latex_table(study), encoding="utf-8")
    below = [_text(folder / name, text) for name, text in _texts(study, evidence).items()]
    for drawing in made:
        if drawing.name in IMAGES:
            below.append(folder / f"{drawing.name}.png")
            drawing.figure.savefig(below[-1], dpi=PIXELS)
    return [*top, *below]


def restore_report(download: Download, summary: Row, *, output: Path) -> None:
    """Download the files of a finished report to where they were written.

    Args:
        download: Fetches an artifact of a run.
        summary: The run of the stage summary with these files.
        output: The folder.
    """
    for name in (PAGE, PDF, LATEX, BELOW):
        download(summary.run, name, output)


def _texts(study: Study, evidence: ReportEvidence) -> dict[str, str]:
    frames = {
        "scores": study.scores,
        "reliability": study.reliability,
        "sources": study.sources,
        "truth": _truth(study),
    }
    frames |= {"comparisons": study.comparisons, "stability": study.stability, "ranks": study.ranks, "gaps": study.gaps}
    if not evidence.terms.empty:
        frames |= {"ccfv_terms": evidence.terms, "ccfv_terms_agreement": term_agreement(study, evidence.terms)}
    texts = {f"{name}.csv": frame.to_csv(index=False) for name, frame in frames.items()}
    return {"agreement.csv": study_csv(study), "table.md": study_markdown(study)} | texts


def _truth(study: Study) -> pd.DataFrame:
    """The Dice of all pools: source, target, tune, seed, dice."""
    parts = [
        pd.DataFrame(pool.dice, index=pd.Index(pool.sources, name="source"), columns=list(pool.seeds))
        .melt(ignore_index=False, var_name="seed", value_name="dice")
        .reset_index()
        .assign(target=pool.target, tune=pool.tune)
        for pool in (*study.pools, *study.beside)
    ]
    return pd.concat(parts, ignore_index=True)[["source", "target", "tune", "seed", "dice"]]


def _text(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
