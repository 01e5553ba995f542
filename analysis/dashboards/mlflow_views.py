"""Shared views of MLflow's page of runs: filter, order, columns and charts.

MLflow stores a shared view as the tag `mlflow.sharedViewState.KEY` of the experiment (JSON, optionally deflated) and
opens it by `#/experiments/ID/runs?viewStateShareKey=KEY&compareRunsMode=CHART`. The format is not documented, so MLflow
is pinned and the tests open every view in a browser. The page loads the first 100 runs in a view's order, and the rest
on demand; it titles a chart by its metrics and does not accept a list of runs from a shared view.
"""

import base64
import json
import zlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

TAG = "mlflow.sharedViewState."
HEIGHT = 420  # of a chart in pixels; leaves room for the names below some thirty bars

Chart = dict[str, object]


@dataclass(frozen=True)
class Section:
    """Charts under a common heading.

    Attributes:
        name: The heading.
        charts: Charts from `bars`, `parallel` and `scatter`.
        columns: The number of charts side by side.
    """

    name: str
    charts: Sequence[Chart]
    columns: int = 2


@dataclass(frozen=True)
class View:
    """A shared view of the page of runs.

    Attributes:
        key: The view's key in its address.
        title: A short title.
        runs: The filter, in MLflow's search syntax.
        order: The column that orders the runs, also in charts, such as `metrics.dice`; tied runs come newest first.
        columns: The columns of the table, such as `params.target`.
        sections: The charts.
        metrics: All metrics of the runs; those without a chart get a hidden chart, or else the page would add one.
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
        """The name of the experiment's tag that stores the view."""
        return TAG + self.key

    @property
    def state(self) -> dict[str, object]:
        """The view in MLflow's format."""
        charted = {str(chart.get("metricKey")) for section in self.sections for chart in section.charts}
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
            "isAccordionReordered": True,  # otherwise sections are sorted alphabetically
            "hideEmptyCharts": True,
            "groupBy": None,
            "compareRunSections": [
                {"uuid": uuid, "name": section.name, "columns": section.columns, "cardHeight": HEIGHT}
                | {"display": True, "isReordered": True, "isGenerated": False}
                for uuid, section in sections
            ],
            "compareRunCharts": [
                {"uuid": f"{uuid}/{place}", "metricSectionId": uuid, "deleted": False, "isGenerated": False} | chart
                for uuid, section in sections
                for place, chart in enumerate(section.charts)
            ]
            + [{"uuid": name, "deleted": True, **bars(name)} for name in sorted(set(self.metrics) - charted)],
        }

    def encoded(self) -> str:
        """The value of the tag: deflated JSON in base 64."""
        packed = zlib.compress(json.dumps(self.state, separators=(",", ":")).encode(), 9)
        return "deflate;" + base64.b64encode(packed).decode()


def address(page: str, experiment: str, view: View) -> str:
    """The address that opens a view.

    Args:
        page: MLflow's own address, such as http://127.0.0.1:5000.
        experiment: The experiment's id.
        view: The view.

    Example:
        >>> address("http://127.0.0.1:5000", "1", View("truth", "", "", "metrics.dice", [], []))
        'http://127.0.0.1:5000/#/experiments/1/runs?viewStateShareKey=truth&compareRunsMode=CHART'
    """
    return f"{page.rstrip('/')}/#/experiments/{experiment}/runs?viewStateShareKey={view.key}&compareRunsMode=CHART"


def bars(metric: str) -> Chart:
    """A bar chart with one bar per run that has the metric."""
    return {"type": "BAR", "metricKey": metric}


def parallel(params: Iterable[str], metrics: Iterable[str]) -> Chart:
    """A parallel-coordinates chart with one line per run that has all of the params and metrics.

    Args:
        params: The first axes.
        metrics: The following axes; the last one sets the colour.

    Returns:
        The chart.
    """
    return {"type": "PARALLEL", "selectedParams": list(params), "selectedMetrics": list(metrics), "showAllRuns": True}


def scatter(x: str, y: str) -> Chart:
    """A scatter chart with one point per run that has both metrics."""
    return {"type": "SCATTER", "xaxis": {"key": x, "type": "METRIC"}, "yaxis": {"key": y, "type": "METRIC"}}


def canonical(column: str) -> str:
    """The page's name of a column KIND.NAME: NAME is in backticks, unless KIND is `attributes`.

    Example:
        >>> canonical("params.stream.overlap")
        'params.`stream.overlap`'
    """
    kind, _, name = column.partition(".")
    return column if kind == "attributes" else f"{kind}.`{name}`"
