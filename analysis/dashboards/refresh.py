"""Refresh the dashboards from the tracking store: the newest study, and every sweep over a setting."""

import logging
from collections.abc import Sequence
from typing import Any

from hydra.experimental.callback import Callback
from hydra.utils import instantiate
from omegaconf import DictConfig

from analysis.dashboards.mlflow_views import View, address
from analysis.dashboards.presets import agreement_view, sweeps_view, truth_view
from analysis.dashboards.sweeps import by_setting, swept
from benchmark.errors import InputError
from benchmark.tracking import NOTE, Store, mark_experiment, mark_run
from benchmark.tracking.records import Row

log = logging.getLogger(__name__)


def refresh(store: Store) -> tuple[View, ...]:
    """Write the views for the store's runs, and tag the runs of sweeps with the settings in which they differ.

    Args:
        store: The tracking store.

    Returns:
        The views.
    """
    rows = list(store.finished().values())
    found = swept(rows)
    for row in rows:
        if names := found.get(row.run):
            _mark(row, names, store)
    sweeps = by_setting(rows, found)
    views = (agreement_view(rows), truth_view(rows), sweeps_view(sweeps))
    experiment = store.prepare()
    links = ", ".join(f"[{view.title}]({address('', experiment, view).removeprefix('/')})" for view in views)
    mark_experiment(store, {NOTE: f"Dashboards: {links}"} | {view.tag: view.encoded() for view in views})
    return views


def lines(store: Store, ui: str) -> list[str]:
    """Refresh the dashboards and list their addresses, for printing.

    Args:
        store: The tracking store.
        ui: The address of MLflow's page, used unless the store is a server.

    Returns:
        The lines.
    """
    server = store.uri.startswith("http")
    head = "dashboards in MLflow:" if server else f"dashboards in MLflow, once `make ui` serves {store.uri}:"
    page, experiment = store.uri if server else ui, store.prepare()
    return [head, *(f"  {view.title}: {address(page, experiment, view)}" for view in refresh(store))]


def _mark(row: Row, names: Sequence[str], store: Store) -> None:
    """Tag a run of a sweep with the settings in which it differs, and add their values to its name."""
    values = ", ".join(f"{name}={row.params[name]}" for name in names)
    name = f"{row.name.partition(' [')[0]} [{values}]"
    if row.tags.get("sweep") != ", ".join(names) or row.name != name:
        mark_run(store, row.run, name=name, tags={"sweep": ", ".join(names)})


class AfterSweep(Callback):
    """Hydra callback of every command: refresh the dashboards after a multirun."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Refresh the views.

        Args:
            config: The config of the multirun.
            kwargs: Further arguments of Hydra, unused.
        """
        try:
            refresh(instantiate(config.tracking))
        except InputError as error:  # the jobs have reported the same error
            log.warning("dashboards not refreshed: %s", error)
