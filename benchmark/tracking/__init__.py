"""Stores results in MLflow, and on disk until they are delivered. Only this package imports MLflow."""

from benchmark.tracking.outbox import NOTE
from benchmark.tracking.store import Store

__all__ = ["NOTE", "Store"]
