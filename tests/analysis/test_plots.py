"""The figures hold the right panels, points and bars."""

import io
import sys

import numpy as np
import pytest

from analysis.plots import bars, dice_table, heat_map, scatter


def drawn(figure):
    """The figure, written: a fault in drawing shows only then."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=30)
    return stream.getvalue()


def test_scatter_has_a_panel_a_metric_and_target_and_a_point_a_source(study):
    figure = scatter(study, metrics=["good", "gap"])
    assert len(figure.axes) == 2 * 5
    points = [sum(len(bar.lines[0].get_xdata()) for bar in panel.containers) for panel in figure.axes]
    assert points == [12] * 5 + [12, 12, 11, 12, 12]
    titles = [panel.get_title() for panel in figure.axes]
    assert titles[7] == "liver: τw undefined, 1 without score"
    assert titles[2].startswith("liver: τw 0.")
    assert drawn(figure).startswith(b"\x89PNG")


def test_scatter_error_bars_are_the_seeds_standard_deviation(study):
    [panel] = scatter(study, metrics=["good"], targets=["lung"]).axes
    [pool] = [pool for pool in study.pools if pool.target == "lung"]
    lengths = [np.ptp(segment[:, 1]) for bar in panel.containers for segment in bar.lines[2][0].get_segments()]
    np.testing.assert_allclose(sorted(lengths), sorted(2 * pool.dice.std(axis=1, ddof=1)))


def test_scatter_tells_the_kinds_apart_by_marker_and_colour(study):
    [panel] = scatter(study, metrics=["good"], targets=["lung"]).axes
    handles, labels = panel.get_legend_handles_labels()
    assert labels == ["scratch", "short", "long"]
    assert len({handle.lines[0].get_marker() for handle in handles}) == 3
    assert len({handle.lines[0].get_color() for handle in handles}) == 3


def test_scatter_refuses_what_cannot_be_read(study):
    with pytest.raises(ValueError, match="must make 1 to 60 panels, got 13 times 5"):
        scatter(study, metrics=["good"] * 13)
    with pytest.raises(ValueError, match="must make 1 to 60 panels, got 1 times 0"):
        scatter(study, metrics=["good"], targets=["nowhere"])


def test_bars_show_each_metric_and_the_ceiling(study):
    figure = bars(study)
    [panel] = figure.axes
    rows = study.agreement_of()
    assert [label.get_text() for label in panel.get_yticklabels()] == list(rows.index)
    np.testing.assert_allclose([bar.get_width() for bar in panel.patches], rows["weighted_kendall"].fillna(0))
    assert sum(text.get_text() == "undefined" for text in panel.texts) == rows["weighted_kendall"].isna().sum()
    ceiling = study.reliability_of()["weighted_kendall_ceiling"]
    assert panel.get_legend_handles_labels()[1] == [f"ceiling {ceiling:.2f}"]
    assert drawn(figure)


def test_heat_map_writes_every_dice(study):
    figure = heat_map(study)
    table = dice_table(study.pools)
    assert table.shape == (12, 5)
    assert table.index[0] == "s11"
    assert table.index[-1] == "s00"
    assert len(figure.axes[0].texts) == 60
    assert drawn(figure)


def test_no_figure_is_left_in_pyplot(study):
    bars(study)
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()
