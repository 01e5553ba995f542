"""A ranking as one self-contained HTML file: the figure, the tables, and a case with its labels."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from types import MappingProxyType

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from analysis.plots.style import BLUE, GREY, ORANGE, data_uri
from analysis.ranking.order import STANDING, Ranking
from analysis.ranking.tables import Account, ranking_tables
from analysis.tables.tables import Table


def ranking_page(ranking: Ranking, account: Account, *, case: bytes | None = None, case_name: str = "") -> str:
    """Render the page of a ranking, with embedded pictures.

    Args:
        ranking: The ranking.
        account: Costs, notes and reasons to show with it.
        case: A PNG of a case with its labels.
        case_name: The case's name.
    """
    estimates = PagePicture(
        png(ranking_figure(ranking)), "Scores of every source with intervals, one panel per estimate"
    )
    slices = (
        {f"Case {case_name}, its labels outlined": PagePicture(case, "Three slices of a case with its labels")}
        if case
        else {}
    )
    return short_page(
        f"{account.task}: which source to fine-tune",
        ranking.verdict,
        [estimates],
        ranking_tables(ranking, account, intervals=True),
        closing=slices,
    )


@dataclass(frozen=True)
class PagePicture:
    """A PNG, and what it shows in words."""

    content: bytes
    alt: str

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        return data_uri(self.content, "png")


def short_page(
    heading: str,
    verdict: str,
    pictures: Sequence[PagePicture],
    tables: Sequence[Table],
    *,
    closing: Mapping[str, PagePicture] = MappingProxyType({}),
) -> str:
    """Render a self-contained page: the verdict, pictures, tables, and further pictures with titles."""
    environment = Environment(loader=PackageLoader("analysis"), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("short_page.html.j2").render(
        heading=heading, verdict=verdict, pictures=pictures, tables=tables, closing=closing
    )


def ranking_figure(ranking: Ranking) -> Figure:
    """Plot the standing and each metric with intervals, and the share of resamples in which each source ranks first.

    Sources come best first, from the top.
    """
    table = ranking.table
    names: Sequence[str] = (STANDING, *ranking.scores.metrics)
    panels = len(names) + (1 if ranking.draws else 0)
    columns = min(4, panels)
    rows = -(-panels // columns)
    figure = Figure(figsize=(1.6 + 2.6 * columns, rows * (0.9 + 0.26 * len(table))), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    place = np.arange(len(table))[::-1]
    sources = [str(source).replace("$", r"\$") for source in table["source"]]  # matplotlib takes $...$ for a formula
    if ranking.draws:
        share = table[f"{ranking.by}_first"].to_numpy(dtype=float)
        axes[0].barh(place, np.nan_to_num(share), color=ORANGE, height=0.7)
        axes[0].set_xlim(0, 1)
        axes[0].set_title(f"share of resamples in\nwhich it is first ({ranking.by})", fontsize=8)
    for panel, name in zip(axes[panels - len(names) :], names, strict=False):
        value, low, high = (table[f"{name}{end}"].to_numpy(dtype=float) for end in ("", "_low", "_high"))
        drawn = np.isfinite(low) & np.isfinite(high)
        panel.hlines(place[drawn], low[drawn], high[drawn], color=GREY, linewidth=1.5)
        panel.plot(value, place, "o", color=BLUE, markersize=4)
        panel.set_title(name, fontsize=8)
    for panel in axes:
        panel.tick_params(labelsize=7)
        panel.set_yticks(place, sources, fontsize=7)
    for panel in axes[panels:]:
        panel.set_visible(False)
    return figure


def png(figure: Figure) -> bytes:
    """Render a figure as PNG; characters that the font lacks are boxes."""
    content = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(content, format="png", dpi=130)
    return content.getvalue()
