"""What `benchmark.perf` measures, one row of its table a class: ours beside a reference written plainly."""
