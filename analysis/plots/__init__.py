"""The figures of a study. Each function returns a `matplotlib.figure.Figure` and uses no global state."""

from analysis.plots.bar_chart import bars
from analysis.plots.comparison import cost_plot, pareto, rank_diagram
from analysis.plots.heat import dice_table, heat_map, score_maps
from analysis.plots.layers import term_dots, term_scatter
from analysis.plots.panels import mean_scatter, scatter
from analysis.plots.style import MOST_PANELS

__all__ = [
    "MOST_PANELS",
    "bars",
    "cost_plot",
    "dice_table",
    "heat_map",
    "mean_scatter",
    "pareto",
    "rank_diagram",
    "scatter",
    "score_maps",
    "term_dots",
    "term_scatter",
]
