"""The picture of regret against cost: a marker per kind, readable names, and only what is known."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from matplotlib.text import Text

from analysis.evaluation.race_replay import RaceReplay, StrategyKind, mean_rows
from analysis.plots.regret import drawn_strategies, regret_plot
from analysis.report import ReportEvidence, drawings
from tests.analysis.tables.test_race_tables import KINDS, replayed


def plotted():
    return replayed(race=(0.01, 0.02, 0.03), logme=(0.02, 0.03, 0.04), ccfv=(0.03, 0.03, 0.04))


def test_each_kind_has_a_marker_of_its_own_at_cost_and_regret():
    [panel] = regret_plot(plotted()).axes
    handles, labels = panel.get_legend_handles_labels()
    assert len(labels) == len({kind for kind, _ in KINDS.values()}) == len(StrategyKind)
    assert len({handle.get_marker() for handle in handles}) == len(labels)
    race = handles[labels.index("race")]
    np.testing.assert_allclose([*race.get_xdata(), *race.get_ydata()], [36, 2])
    assert "% of fine-tuning all" in panel.get_xlabel()
    assert panel.get_ylabel() == "regret, Dice points, mean over targets"


def test_names_are_written_beside_the_panel_and_do_not_overlap():
    figure = regret_plot(plotted())
    figure.draw_without_rendering()
    [panel] = figure.axes
    names = {text.get_text(): Text.get_window_extent(text) for text in panel.texts}  # without the line to the point
    assert {"race all", "top of logme", "top of static_leaderboard", "random pick"} <= set(names)
    assert "top of ccfv" not in names  # neither a default metric nor the best estimate
    boxes = sorted(names.values(), key=lambda box: box.y0)
    assert all(below.y1 <= above.y0 for below, above in pairwise(boxes))
    assert all(box.x1 <= figure.bbox.x1 for box in boxes)


def test_what_is_undefined_is_not_drawn():
    race = plotted()
    rows = race.rows
    rows.loc[(rows["strategy"] == "logme") & (rows["target"] == "lung"), "regret"] = np.nan
    rows.loc[rows["strategy"] == "ccfv", "cost"] = np.nan
    race = RaceReplay(rows, mean_rows(rows))
    assert set(KINDS) - set(drawn_strategies(race)["strategy"]) == {"logme", "ccfv"}
    assert len(regret_plot(race).axes[0].get_legend_handles_labels()[1]) == len(StrategyKind) - 1


def test_the_report_has_the_picture_if_something_can_be_drawn(study):
    def names(race):
        return [one.name for one in drawings(replace(study, race=race), ReportEvidence(suite="planted"))]

    race = plotted()
    assert "race" in names(race)
    nothing = race.rows.assign(regret=np.nan)
    assert "race" not in names(RaceReplay(nothing, mean_rows(nothing)))
    assert "race" not in names(RaceReplay(race.rows.iloc[:0], race.rows.iloc[:0]))
    assert "race" not in names(None)
