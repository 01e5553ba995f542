"""Stores results in MLflow, and on disk until they are delivered. Only this package imports MLflow."""

from benchmark.tracking.outbox import NOTE
from benchmark.tracking.store import Store
from benchmark.tracking.tags import mark_experiment, mark_run

__all__ = ["NOTE", "Store", "mark_experiment", "mark_run"]
