"""A race as one self-contained HTML file: curves of every candidate, the course of the race, its cost."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, SMALL, TINY, bare
from analysis.racing.outcome import RaceOutcome
from analysis.racing.tables import race_tables
from analysis.ranking.page import PagePicture, png, short_page

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, GREY)
MARKS = ("o", "s", "^", "D", "v", "P")
LINES = ("-", "--", ":", "-.")
SMOOTH = 20  # the loss is shown as its mean over this share of the steps, one twentieth


def race_page(outcome: RaceOutcome) -> str:
    """Render the page of a race, with embedded pictures."""
    pictures = []
    if len(outcome.points):
        alt = "Validation Dice against steps and against time, and the training loss, one curve per candidate"
        pictures.append(PagePicture(png(race_figure(outcome)), alt))
    return short_page(f"{outcome.task}: the race", outcome.verdict(), pictures, race_tables(outcome))


def race_figure(outcome: RaceOutcome) -> Figure:
    """Plot the validation Dice of each candidate against steps and time, and its training loss.

    A candidate that was dropped ends with a cross; vertical lines are the rungs. Candidates of the same colour differ
    in marker and line.
    """
    figure = Figure(figsize=(12, 3.6 + 0.12 * len(outcome.race.candidates)), layout="constrained")
    against_steps, against_time, loss = figure.subplots(1, 3)
    timed = outcome.timed
    dropped = {name for name, standing in outcome.race.last_standings.items() if standing.drop is not None}
    for at, name in enumerate(outcome.race.candidates):
        again = at // len(COLOURS)
        colour, marker, line = COLOURS[at % len(COLOURS)], MARKS[again % len(MARKS)], LINES[again % len(LINES)]
        own = timed[timed["candidate"] == name]
        if own.empty:
            continue
        means = own.groupby("step")[["dice", "training"]].mean()
        label = _label_of(name)
        for panel, x in ((against_steps, means.index.to_numpy()), (against_time, means["training"].to_numpy())):
            panel.plot(
                x, means["dice"], marker=marker, color=colour, linestyle=line, markersize=4, linewidth=1.2, label=label
            )
            if name in dropped:
                panel.plot(x[-1:], means["dice"].iloc[-1:], "x", color=colour, markersize=9)
        mean = outcome.losses[outcome.losses["candidate"] == name].groupby("step")["loss"].mean()
        smooth = mean.rolling(max(max(outcome.race.rungs.values()) // SMOOTH, 1), min_periods=1).mean()
        loss.plot(smooth.index.to_numpy(), smooth.to_numpy(), color=colour, linestyle=line, linewidth=1.0)
    for step in outcome.race.rungs.values():
        against_steps.axvline(step, color=GREY, linewidth=0.5, linestyle=":")
    _label(against_steps, "steps", "validation Dice")
    _label(against_time, "seconds of training", "validation Dice")
    _label(loss, "steps", "training loss (smoothed)")
    figure.legend(*against_steps.get_legend_handles_labels(), loc="outside lower center", fontsize=TINY, ncols=4)
    return figure


def _label_of(name: str) -> str:
    """A name in matplotlib's legend, which takes $...$ for a formula and leaves out names that start with _."""
    return (f" {name}" if name.startswith("_") else name).replace("$", r"\$")


def _label(panel: Axes, x: str, y: str) -> None:
    bare(panel)
    panel.set_xlabel(x, fontsize=SMALL)
    panel.set_ylabel(y, fontsize=SMALL)
