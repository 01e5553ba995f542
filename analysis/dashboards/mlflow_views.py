"""Views of MLflow's page of runs: filter, order, columns and charts, as the page itself would share them.

MLflow keeps a shared view as the tag `mlflow.sharedViewState.KEY` of the experiment, JSON that may be deflated, and
opens it by `#/experiments/ID/runs?viewStateShareKey=KEY&compareRunsMode=CHART`. The format is not documented: MLflow is
pinned, and a browser opens every view in the tests. The page loads the first 100 runs of a view's order, the rest on
demand; it titles a chart by its metrics, and takes no list of runs from a shared view.
"""

import base64
import json
import zlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

TAG = "mlflow.sharedViewState."
HEIGHT = 420  # of a chart in pixels: the names below a chart of some thirty bars need room

Chart = dict[str, Any]


@dataclass(frozen=True)
class Section:
    """Charts that stand together under a heading.

    Attributes:
        name: The heading.
        charts: From `bars`, `parallel` and `scatter`.
        columns: How many charts stand side by side.
    """

    name: str
    charts: Sequence[Chart]
    columns: int = 2


@dataclass(frozen=True)
class View:
    """What the page of runs shows when it is opened by a view's address.

    Attributes:
        key: Names the view in its address.
        title: What it shows, in a few words.
        runs: The filter, in MLflow's language.
        order: What orders the runs, in charts, too: such as `metrics.dice`; runs that tie come newest first.
        columns: The columns of the table, such as `params.target`.
        sections: The charts.
        metrics: Every metric that the runs hold: without a chart of its own, shown or not, the page would add one.
    """

    key: str
    title: str
    runs: str
    order: str
    columns: Sequence[str]
    sections: Sequence[Section]
    metrics: Collection[str] = ()

    @property
    def tag(self) -> str:
        """The name of the experiment's tag that holds the view."""
        return TAG + self.key

    @property
    def state(self) -> dict[str, Any]:
        """The view in the page's own words."""
        sections = list(zip([f"{self.key}/{section.name}" for section in self.sections], self.sections, strict=True))
        return {
            "searchFilter": self.runs,
            "orderByKey": canonical(self.order),
            "orderByAsc": False,
            "lifecycleFilter": "Active",
            "startTime": "ALL",
            "datasetsFilter": [],
            "modelVersionFilter": "All Runs",
            "selectedColumns": [canonical(column) for column in self.columns],
            "runsHiddenMode": "SHOW_ALL",
            "isAccordionReordered": True,  # else sections are put into the order of the alphabet
            "hideEmptyCharts": True,
            "groupBy": None,
            "compareRunSections": [
                {
                    "uuid": uuid,
                    "name": section.name,
                    "display": True,
                    "isReordered": True,
                    "isGenerated": False,
                    "columns": section.columns,
                    "cardHeight": HEIGHT,
                }
                for uuid, section in sections
            ],
            "compareRunCharts": [
                {"uuid": f"{uuid}/{place}", "metricSectionId": uuid, "deleted": False, "isGenerated": False} | chart
                for uuid, section in sections
                for place, chart in enumerate(section.charts)
            ]
            + [{"uuid": name, "deleted": True, **bars(name)} for name in self._hidden],
        }

    @property
    def _hidden(self) -> list[str]:
        shown = {chart.get("metricKey") for section in self.sections for chart in section.charts}
        return sorted(set(self.metrics) - shown)

    def encoded(self) -> str:
        """The value of the tag: JSON, deflated, in base 64."""
        packed = zlib.compress(json.dumps(self.state, separators=(",", ":")).encode(), 9)
        return "deflate;" + base64.b64encode(packed).decode()


def address(page: str, experiment: str, view: View) -> str:
    """The address that opens a view.

    Args:
        page: MLflow's own address, such as http://127.0.0.1:5000.
        experiment: The experiment's id.
        view: The view.

    Returns:
        The address.

    Example:
        >>> address("http://127.0.0.1:5000", "1", View("truth", "", "", "metrics.dice", [], []))
        'http://127.0.0.1:5000/#/experiments/1/runs?viewStateShareKey=truth&compareRunsMode=CHART'
    """
    return f"{page.rstrip('/')}/#/experiments/{experiment}/runs?viewStateShareKey={view.key}&compareRunsMode=CHART"


def bars(metric: str) -> Chart:
    """A bar for each run that has the metric.

    Args:
        metric: Its name.

    Returns:
        The chart.
    """
    return {"type": "BAR", "metricKey": metric}


def parallel(params: Iterable[str], metrics: Iterable[str]) -> Chart:
    """A line for each run that has them all, across an axis for each param and metric.

    Args:
        params: The first axes.
        metrics: The axes that follow; the last gives the colour.

    Returns:
        The chart.
    """
    return {"type": "PARALLEL", "selectedParams": list(params), "selectedMetrics": list(metrics), "showAllRuns": True}


def scatter(x: str, y: str) -> Chart:
    """A point for each run that has both metrics.

    Args:
        x: The metric on the horizontal axis.
        y: The metric on the vertical axis.

    Returns:
        The chart.
    """
    axes = {name: {"key": key, "type": "METRIC"} for name, key in (("xaxis", x), ("yaxis", y))}
    return {"type": "SCATTER", **axes}


def canonical(column: str) -> str:
    """A column as the page names it.

    Args:
        column: `params.NAME`, `metrics.NAME`, `tags.NAME` or `attributes.NAME`.

    Returns:
        The name, in backticks where it is ours.

    Example:
        >>> canonical("params.stream.overlap")
        'params.`stream.overlap`'
    """
    kind, _, name = column.partition(".")
    return column if kind == "attributes" else f"{kind}.`{name}`"
