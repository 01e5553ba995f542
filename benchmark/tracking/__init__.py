"""Rows in MLflow, and on disk until MLflow has them: the only place that imports it."""

from benchmark.tracking.outbox import NOTE
from benchmark.tracking.store import Store
from benchmark.tracking.tags import mark_experiment, mark_run

__all__ = ["NOTE", "Store", "mark_experiment", "mark_run"]
