"""The dashboards: agreement by metric, truth by source and target, and every sweep over a setting of the runs.

A sweep is a set of runs of the same source, target, seed and metric that differ in a setting. A setting is a param with
a dot in its name, such as `stream.overlap` or `trainer.tune`; every job logs its settings.
"""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence

from hydra.experimental.callback import Callback
from hydra.utils import instantiate
from omegaconf import DictConfig

from analysis.dashboards.mlflow_views import Chart, Section, View, address, bars, parallel, scatter
from analysis.truth.pools import Scope
from benchmark.errors import InputError
from benchmark.jobs.suite_settings import LONGER
from benchmark.tracking import NOTE, Store
from benchmark.tracking.artifacts import missing_file
from benchmark.tracking.records import Row, Stage

log = logging.getLogger(__name__)

ABOUT = ("task", "source", "target", "seed", "metric", "scope")
STAGES = (Stage.PRETRAIN, Stage.TRUTH, Stage.SCORE, Stage.AGREEMENT)
STUDY = 12  # characters of a study's key that identify it
MEAN_AGREEMENT = f"{Scope.MEAN}/weighted_kendall"  # only runs of the mean over targets have it
MOST_SCORES = 3  # metrics shown for a sweep over a setting of the stream, one axis each
# stage -> the metrics shown for a sweep; for scores they depend on the setting
SWEEP_METRICS: dict[str, tuple[str, ...]] = {
    Stage.PRETRAIN: ("dice",),
    Stage.TRUTH: ("dice",),
    Stage.AGREEMENT: ("weighted_kendall",),
}
AXES: dict[str, tuple[str, ...]] = {
    Stage.PRETRAIN: ("source",),
    Stage.TRUTH: ("target", "source"),
    Stage.SCORE: ("target", "source"),
    Stage.AGREEMENT: ("target", "metric"),
}


def refresh(store: Store) -> tuple[View, ...]:
    """Write the views for the store's runs, and tag the runs of sweeps with the settings in which they differ."""
    rows = list(store.finished().values())
    different = swept(row for row in rows if row.tags.get("variant") != LONGER)
    for row in rows:
        if names := different.get(row.run):
            _mark(row, names, store)
    views = (agreement_view(rows), truth_view(rows), sweeps_view(by_setting(rows, different)))
    experiment = store.prepare()
    links = ", ".join(f"[{view.title}]({address('', experiment, view).removeprefix('/')})" for view in views)
    store.mark_experiment({NOTE: f"Dashboards: {links}"} | {view.tag: view.encoded() for view in views})
    return views


def lines(store: Store, ui: str) -> list[str]:
    """Refresh the dashboards and list their addresses, for printing.

    Args:
        store: The tracking store.
        ui: The address of MLflow's page, used unless the store is a server.
    """
    server = store.uri.startswith("http")
    head = "dashboards in MLflow:" if server else f"dashboards in MLflow, once `make ui` serves {store.uri}:"
    page, experiment = store.uri if server else ui, store.prepare()
    return [head, *(f"  {view.title}: {address(page, experiment, view)}" for view in refresh(store))]


def shared(rows: Iterable[Row]) -> dict[str, str]:
    """The settings that have the same value in all rows that have them.

    Example:
        >>> rows = [Row("score", str(n), "", {"stream.overlap": "0.25", "metric.ccfv.seed": str(n)}) for n in (0, 1)]
        >>> shared(rows)
        {'stream.overlap': '0.25'}
    """
    return {name: next(iter(values)) for name, values in _values(rows).items() if len(values) == 1}


def swept(rows: Iterable[Row]) -> dict[str, tuple[str, ...]]:
    """Run -> the settings in which it differs from runs of its stage with the same values of `ABOUT`.

    Example:
        >>> about = {"source": "liver_unet", "target": "spleen"}
        >>> rows = [Row("score", n, "", about | {"stream.overlap": n}, run=n) for n in ("0", "0.25")]
        >>> swept([*rows, Row("score", "b", "", {"source": "scratch", "stream.overlap": "0.25"}, run="other")])
        {'0': ('stream.overlap',), '0.25': ('stream.overlap',)}
    """
    groups: dict[tuple[str | None, ...], list[Row]] = {}
    for row in rows:
        if row.stage in STAGES:
            groups.setdefault((row.stage, *(row.params.get(name) for name in ABOUT)), []).append(row)
    different = {}
    for group in groups.values():
        settings = [name for name, values in _values(group).items() if len(values) > 1]
        for row in group:
            if own := tuple(name for name in settings if name in row.params):
                different[row.run] = own
    return different


def by_setting(rows: Sequence[Row], different: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], list[Row]]:
    """(stage, setting) -> the rows that differ in it; `different` is the result of `swept`."""
    sweeps: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        for name in different.get(row.run, ()):
            sweeps.setdefault((row.stage, name), []).append(row)
    return sweeps


def _values(rows: Iterable[Row]) -> dict[str, set[str]]:
    values: dict[str, set[str]] = {}
    for row in rows:
        for name, value in row.params.items():
            if "." in name:
                values.setdefault(name, set()).add(value)
    return values


def _mark(row: Row, names: Sequence[str], store: Store) -> None:
    """Tag a run of a sweep with the settings in which it differs, and add their values to its name."""
    values = ", ".join(f"{name}={row.params[name]}" for name in names)
    name = f"{row.name.partition(' [')[0]} [{values}]"
    if row.tags.get("sweep") != ", ".join(names) or row.name != name:
        store.mark_run(row.run, name=name, tags={"sweep": ", ".join(names)})


def agreement_view(rows: Sequence[Row]) -> View:
    """The agreement of each metric in the newest study: means, cost, and every target; best metric on top.

    Args:
        rows: Finished jobs, oldest first.
    """
    measured = ["weighted_kendall", "weighted_kendall_low", "weighted_kendall_high", "weighted_kendall_share",
                "kendall", "pearson", "top1_regret", "seconds"]  # fmt: skip
    return View(
        key="agreement",
        title="agreement with the truth",
        runs=f"tags.stage = '{Stage.AGREEMENT}'{_of_newest(rows)} and params.scope != '{Scope.MEAN_BY_SCAN}'",
        order="metrics.targets",
        columns=[
            "params.metric",
            "params.scope",
            "params.target",
            "tags.kind",
            *(f"metrics.{name}" for name in measured),
        ],
        sections=[
            Section(
                "Mean over targets: agreement, and its cost",
                [bars(MEAN_AGREEMENT), scatter("mean/seconds", MEAN_AGREEMENT)],
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
        metrics=_metrics(rows, Stage.AGREEMENT),
    )


def truth_view(rows: Sequence[Row]) -> View:
    """The truth: Dice by source and target, and scores that could predict it; arguments as in `agreement_view`.

    For a study too large for one run per pair it shows only the fine-tunings.
    """
    stage = Stage.PAIR if any(row.stage == Stage.PAIR for row in rows) else Stage.TRUTH
    predictors = ["source_dice", "static_leaderboard", *_best_metric(rows)]
    return View(
        key="truth",
        title="the truth",
        runs=f"tags.stage = '{stage}'{_of_newest(rows) if stage == Stage.PAIR else ''}",
        order="metrics.dice",
        columns=["params.target", "params.source", "params.tune", "metrics.dice", "metrics.dice_sd", "metrics.seeds"],
        sections=[
            Section("Dice by source and target", [bars("dice"), parallel(["target", "source"], ["dice"])]),
            Section("Possible predictors", [scatter(name, "dice") for name in predictors], 3),
        ],
        metrics=_metrics(rows, stage),
    )


def sweeps_view(sweeps: Mapping[tuple[str, str], Sequence[Row]]) -> View:
    """The results against each setting that was swept over, the result of `by_setting`; no charts without sweeps."""
    columns = dict.fromkeys(f"params.{name}" for _, name in sweeps)
    outcomes = dict.fromkeys(f"metrics.{name}" for key, rows in sweeps.items() for name in _outcomes(*key, rows))
    return View(
        key="sweeps",
        title="sweeps over settings",
        runs="tags.sweep != ''",
        order="attributes.start_time",
        columns=["tags.stage", "params.source", "params.target", "params.metric", *columns, *outcomes],
        sections=[Section(f"{name} ({stage})", _charts(stage, name, rows)) for (stage, name), rows in sweeps.items()],
        metrics={name for rows in sweeps.values() for row in rows for name in row.metrics},
    )


def _charts(stage: str, setting: str, rows: Sequence[Row]) -> list[Chart]:
    outcomes = _outcomes(stage, setting, rows)
    means = [parallel([setting, "metric"], [MEAN_AGREEMENT])] if stage == Stage.AGREEMENT else []
    return [parallel([setting, *AXES[stage]], outcomes), *means, bars(outcomes[-1])]


def _outcomes(stage: str, setting: str, rows: Sequence[Row]) -> list[str]:
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
    return f" and tags.study = '{newest}'" if (newest := _newest(rows)) else ""


def _newest(rows: Sequence[Row]) -> str:
    return next((row.key[:STUDY] for row in reversed(rows) if row.stage == Stage.SUMMARY), "")


def _best_metric(rows: Sequence[Row]) -> list[str]:
    """The metric with the highest mean agreement in the newest study, as a list of at most one."""
    means = {
        row.params["metric"]: row.metrics["weighted_kendall"]
        for row in rows
        if row.stage == Stage.AGREEMENT and row.params.get("scope") == Scope.MEAN and row.tags.get("kind") == "metric"
        if row.tags.get("study") == _newest(rows)
    }
    defined = {name: value for name, value in means.items() if not math.isnan(value)}
    return [max(defined, key=defined.__getitem__)] if defined else []


class AfterSweep(Callback):
    """Hydra callback of every command: refresh the dashboards after a multirun."""

    def on_multirun_end(self, config: DictConfig, **kwargs: object) -> None:
        """Refresh the views of a store that exists; further arguments of Hydra are not used."""
        store: Store = instantiate(config.tracking)
        if missing_file(store.uri):  # no job has written a run
            return
        try:
            refresh(store)
        except InputError as error:  # the jobs have reported the same error
            log.warning("dashboards not refreshed: %s", error)
