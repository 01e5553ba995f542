"""Stream cases through a network window by window and accumulate statistics in one pass."""

from benchmark.features.stream import reduce_stream
from benchmark.features.taps import Taps
from benchmark.features.windows import Grid, Window

__all__ = ["Grid", "Taps", "Window", "reduce_stream"]
