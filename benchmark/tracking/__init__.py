"""Rows in MLflow, and on disk until MLflow has them: the only place that imports it."""

from benchmark.tracking.store import Store

__all__ = ["Store"]
