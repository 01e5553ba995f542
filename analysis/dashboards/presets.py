"""The views of the dashboards: agreement by metric, truth (Dice by source and target), and sweeps."""

import math
from collections.abc import Mapping, Sequence

from analysis.dashboards.mlflow_views import Chart, Section, View, bars, parallel, scatter
from analysis.evaluation.study import MEAN, MEAN_BY_SCAN
from benchmark.tracking.records import Row

STUDY = 12  # characters of a study's key that identify it
MOST_SCORES = 3  # metrics shown for a sweep over a setting of the stream, one axis each
SWEEP_METRICS = {
    "pretrain": ("dice",),
    "truth": ("dice",),
    "agreement": ("weighted_kendall",),
}  # stage -> metrics shown
AXES = {"pretrain": ("source",), "truth": ("target", "source"), "score": ("target", "source"),
        "agreement": ("target", "metric")}  # fmt: skip


def agreement_view(rows: Sequence[Row]) -> View:
    """The agreement of each metric in the newest study: means, cost, and every target.

    Args:
        rows: Finished jobs, oldest first.

    Returns:
        The view; means come first, best metric on top.
    """
    measured = ["weighted_kendall", "weighted_kendall_low", "weighted_kendall_high", "weighted_kendall_share",
                "kendall", "pearson", "top1_regret", "seconds"]  # fmt: skip
    return View(
        key="agreement",
        title="agreement with the truth",
        runs=f"tags.stage = 'agreement'{_of_newest(rows)} and params.target != '{MEAN_BY_SCAN}'",
        order="metrics.targets",
        columns=["params.metric", "params.target", "tags.kind", *(f"metrics.{name}" for name in measured)],
        sections=[
            Section(
                "Mean over targets: agreement, and its cost",
                [bars("mean/weighted_kendall"), scatter("mean/seconds", "mean/weighted_kendall")],
            ),
            Section(
                "Target, metric, cost, agreement", [parallel(["target", "metric"], ["seconds", "weighted_kendall"])], 1
            ),
            Section(
                "Interval's low end, share of the ceiling, regret",
                [bars(f"mean/{name}") for name in ("weighted_kendall_low", "weighted_kendall_share", "top1_regret")],
                3,
            ),
        ],
        metrics=_metrics(rows, "agreement"),
    )


def truth_view(rows: Sequence[Row]) -> View:
    """The truth: Dice by source and target, and scores that could predict it.

    Args:
        rows: Finished jobs, oldest first.

    Returns:
        The view; for a study too large for one run per pair, only of the fine-tunings.
    """
    stage = "pair" if any(row.stage == "pair" for row in rows) else "truth"
    predictors = ["source_dice", "static_leaderboard", *_best_metric(rows)]
    return View(
        key="truth",
        title="the truth",
        runs=f"tags.stage = '{stage}'{_of_newest(rows) if stage == 'pair' else ''}",
        order="metrics.dice",
        columns=["params.target", "params.source", "params.tune", "metrics.dice", "metrics.dice_sd", "metrics.seeds"],
        sections=[
            Section("Dice by source and target", [bars("dice"), parallel(["target", "source"], ["dice"])]),
            Section("Possible predictors", [scatter(name, "dice") for name in predictors], 3),
        ],
        metrics=_metrics(rows, stage),
    )


def sweeps_view(sweeps: Mapping[tuple[str, str], Sequence[Row]]) -> View:
    """The results against each setting that was swept over.

    Args:
        sweeps: The result of `by_setting`.

    Returns:
        The view; without charts if there were no sweeps.
    """
    columns = dict.fromkeys(f"params.{name}" for _, name in sweeps)
    outcomes = dict.fromkeys(f"metrics.{name}" for key, rows in sweeps.items() for name in _outcomes(*key, rows))
    return View(
        key="sweeps",
        title="sweeps over settings",
        runs="tags.sweep != ''",
        order="attributes.start_time",
        columns=["tags.stage", "params.source", "params.target", "params.metric", *columns, *outcomes],
        sections=[
            Section(f"{name} ({stage})", _sweep_charts(stage, name, rows)) for (stage, name), rows in sweeps.items()
        ],
        metrics={name for rows in sweeps.values() for row in rows for name in row.metrics},
    )


def _sweep_charts(stage: str, setting: str, rows: Sequence[Row]) -> list[Chart]:
    outcomes = _outcomes(stage, setting, rows)
    return [parallel([setting, *AXES[stage]], outcomes), bars(outcomes[-1])]


def _outcomes(stage: str, setting: str, rows: Sequence[Row]) -> list[str]:
    """The metrics to show for a swept setting."""
    if stage in SWEEP_METRICS:
        return list(SWEEP_METRICS[stage])
    first, _, rest = setting.partition(".")
    names = dict.fromkeys(name for row in rows for name in row.params["metrics"].split(","))
    own = rest.partition(".")[0]
    return [own] if first == "metric" and own in names else list(names)[:MOST_SCORES][::-1]


def _metrics(rows: Sequence[Row], stage: str) -> set[str]:
    return {name for row in rows if row.stage == stage for name in row.metrics}


def _of_newest(rows: Sequence[Row]) -> str:
    """The part of a filter that selects the newest study."""
    studies = [row.key[:STUDY] for row in rows if row.stage == "summary"]
    return f" and tags.study = '{studies[-1]}'" if studies else ""


def _best_metric(rows: Sequence[Row]) -> list[str]:
    """The metric with the highest mean agreement in the newest study, as a list of at most one."""
    studies = [row.key[:STUDY] for row in rows if row.stage == "summary"]
    means = {
        row.params["metric"]: row.metrics["weighted_kendall"]
        for row in rows
        if row.stage == "agreement" and row.params["target"] == MEAN and row.tags.get("kind") == "metric"
        if row.tags.get("study") in studies[-1:]
    }
    defined = {name: value for name, value in means.items() if not math.isnan(value)}
    return [max(defined, key=defined.__getitem__)] if defined else []
