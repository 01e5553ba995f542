"""Stream cases through a network window by window and accumulate statistics in one pass."""

from benchmark.features.stream import reduce_stream

__all__ = ["reduce_stream"]
