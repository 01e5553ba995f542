"""The figures hold the right panels, points and bars."""

import io
import sys

import numpy as np
import pytest

from analysis.agreement.critical_difference import CriticalDifference
from analysis.evaluation.layer_parts import term_agreement
from analysis.plots.comparison import bars, cost_plot, difference_diagram, pareto
from analysis.plots.heat import dice_table, heat_map, score_maps
from analysis.plots.panels import mean_scatter, scatter, term_dots, term_scatter
from analysis.report.files import settle, svg_address, write_pdf


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
    with pytest.raises(ValueError, match="must make 1 to 80 panels, got 17 times 5"):
        scatter(study, metrics=["good"] * 17)
    with pytest.raises(ValueError, match="must make 1 to 80 panels, got 1 times 0"):
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


def test_means_are_of_ranks_and_of_centred_dice(study):
    figure = mean_scatter(study, metrics=["best_in_hindsight", "bad"])
    best, bad = figure.axes[:2]
    [x, y] = np.concatenate([bar.lines[0].get_xydata() for bar in best.containers]).T
    assert len(x) == 12
    assert np.corrcoef(x, y)[0, 1] > 0.95
    [x, y] = np.concatenate([bar.lines[0].get_xydata() for bar in bad.containers]).T
    assert np.corrcoef(x, y)[0, 1] < -0.9
    assert y.mean() == pytest.approx(0, abs=1e-12)  # centred on every target, and every source is on all of them


def test_maps_of_ranks_have_the_truth_first_and_blanks_for_gaps(study):
    figure = score_maps(study, metrics=["good", "gap", "constant"])
    maps = {panel.get_title(): panel.images[0].get_array() for panel in figure.axes if panel.get_title()}
    assert list(maps) == ["truth", "good", "gap", "constant"]
    assert maps["truth"].max(axis=0).tolist() == [1] * 5
    assert maps["truth"].min(axis=0).tolist() == [0] * 5
    assert int(maps["gap"].mask.sum()) == 1
    assert set(maps["constant"].compressed()) == {0.5}
    assert drawn(figure)
    with pytest.raises(ValueError, match="`metrics` must be 1 to 79, got 0"):
        score_maps(study, metrics=[])


def test_the_difference_diagram_names_every_metric_with_its_mean_agreement():
    figure = difference_diagram(CriticalDifference({"a": 0.52, "b": 0.3, "c": -0.1}, 0.25, 0.01, ()))
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert {"a  0.52 ", "b  0.30 ", " -0.10  c", "critical difference 0.25"} <= set(texts)
    ruler, scale = figure.axes[0].lines[0], 2 / 0.62
    assert ruler.get_xdata().tolist() == [1, 3]
    bar = next(line for line in figure.axes[0].lines if line.get_linewidth() == 3)
    assert bar.get_xdata().tolist() == pytest.approx([0.94, 1 + scale * 0.22 + 0.06])  # joins a and b
    assert drawn(figure)


def test_metrics_that_agree_equally_are_drawn():
    assert drawn(difference_diagram(CriticalDifference({"a": 0.5, "b": 0.5, "c": 0.5}, 0.25, 1.0, ())))


def test_no_difference_is_no_diagram():
    with pytest.raises(ValueError, match="must have a critical difference, got NaN: too few"):
        difference_diagram(CriticalDifference({}, float("nan"), float("nan"), (), "too few"))


def test_cost_is_drawn_for_metrics_with_an_agreement_and_the_front_is_undominated(study):
    rows = study.agreement_of().query("kind == 'metric' and weighted_kendall.notna() and seconds > 0")
    panel = cost_plot(study).axes[0]
    assert {text.get_text() for text in panel.texts} == set(rows.index)
    front = pareto(rows)
    for name, row in rows.iterrows():
        beaten = (rows["seconds"] <= row["seconds"]) & (rows["weighted_kendall"] > row["weighted_kendall"])
        assert (name in front.index) == (not beaten.any())


def test_short_fine_tuning_has_a_point_a_marker_and_a_place_on_the_front_of_its_own(trained):
    rows, figure = trained.agreement_of(), cost_plot(trained)
    panel = figure.axes[0]
    points = {line.get_label(): line for line in panel.lines}
    short = points["short fine-tuning, judged by the other seeds"]
    assert sorted(short.get_xdata()) == [20, 40, 80]
    assert short.get_marker() != points["estimate"].get_marker()
    texts = {text.get_text() for text in panel.texts}
    assert {"short fine-tuning, 1/8 of the steps", "short fine-tuning, 1/2 of the steps", "ccfv"} <= texts
    front = points["no other is both cheaper and better"]
    half = rows.loc["fine_tuning_half"]
    assert half["weighted_kendall"] > rows.loc["ccfv", "weighted_kendall"]
    assert [half["seconds"], half["weighted_kendall"]] in front.get_xydata().tolist()
    assert drawn(figure)


def test_bars_name_short_fine_tuning_and_give_it_a_colour_of_its_own(trained):
    [panel] = bars(trained).axes
    names = [label.get_text() for label in panel.get_yticklabels()]
    colours = [bar.get_facecolor() for bar in panel.patches]
    own = {colour for name, colour in zip(names, colours, strict=True) if name.startswith("short fine-tuning, ")}
    assert len(own) == 1
    assert len(set(colours)) == 3


def test_terms_are_drawn_by_layer(study, evidence):
    dots = term_dots(term_agreement(study, evidence.terms))
    labels = [label.get_text() for label in dots.axes[0].get_yticklabels()]
    assert labels[0].startswith("layer 1: consistency")
    assert len(labels) == 6
    clouds = term_scatter(study, evidence.terms)
    panels = [panel for panel in clouds.axes if panel.get_title()]
    assert [len(panel.collections[0].get_offsets()) for panel in panels] == [60, 60]
    assert drawn(dots)
    assert drawn(clouds)


def test_the_same_figure_is_the_same_svg_and_a_page_of_pdf(study, tmp_path):
    figures = [bars(study), bars(study)]
    for figure in figures:
        settle(figure)
    first, second = map(svg_address, figures)
    assert first == second
    assert first.startswith("data:image/svg+xml;base64,")
    write_pdf(figures, tmp_path / "two.pdf")
    assert (tmp_path / "two.pdf").read_bytes().count(b"/Type /Page ") == 2


def test_no_figure_is_left_in_pyplot(study):
    bars(study)
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()
