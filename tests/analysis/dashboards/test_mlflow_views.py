"""A view is stored as MLflow's page would store it, and holds a card for every metric."""

import base64
import json
import zlib

import pytest

from analysis.dashboards.mlflow_views import Section, View, bars, parallel, scatter


@pytest.fixture
def view():
    sections = [
        Section("first", [bars("dice"), scatter("seconds", "dice")]),
        Section("second", [parallel(["target", "source"], ["seconds", "dice"])], 1),
    ]
    return View("truth", "the truth", "tags.stage = 'pair'", "metrics.dice", ["params.source", "metrics.dice"],
                sections, metrics={"dice", "seconds", "nothing"})  # fmt: skip


def test_the_tag_unpacks_to_the_state(view):
    kind, _, packed = view.encoded().partition(";")
    assert kind == "deflate"
    assert json.loads(zlib.decompress(base64.b64decode(packed))) == view.state
    assert view.tag == "mlflow.sharedViewState.truth"


def test_filter_order_and_columns(view):
    state = view.state
    assert state["searchFilter"] == "tags.stage = 'pair'"
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`dice`", False)
    assert state["selectedColumns"] == ["params.`source`", "metrics.`dice`"]


def test_every_chart_stands_in_its_section(view):
    state = view.state
    places = {section["uuid"]: section["name"] for section in state["compareRunSections"]}
    shown = [card for card in state["compareRunCharts"] if not card["deleted"]]
    assert [(places[card["metricSectionId"]], card["type"]) for card in shown] == [
        ("first", "BAR"), ("first", "SCATTER"), ("second", "PARALLEL"),
    ]  # fmt: skip
    assert [section["columns"] for section in state["compareRunSections"]] == [2, 1]
    uuids = [card["uuid"] for card in state["compareRunCharts"]]
    assert len(set(uuids)) == len(uuids)


def test_metrics_without_bars_are_kept_from_getting_some(view):
    hidden = [card["metricKey"] for card in view.state["compareRunCharts"] if card["deleted"]]
    assert hidden == ["nothing", "seconds"]


def test_a_view_of_a_hundred_metrics_fits_a_tag():
    names = [f"weighted_kendall_of_a_metric_{place}" for place in range(100)]
    view = View("x", "x", "", "metrics.a", [f"metrics.{name}" for name in names], [], metrics=names)
    assert len(view.encoded()) < 5000  # what MLflow's oldest schema keeps of a tag
