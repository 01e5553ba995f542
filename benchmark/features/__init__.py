"""A network and cases become a stream of windows, reduced to statistics in one pass."""

from benchmark.features.stream import reduce_stream
from benchmark.features.taps import Taps
from benchmark.features.windows import Grid, Window

__all__ = ["Grid", "Taps", "Window", "reduce_stream"]
