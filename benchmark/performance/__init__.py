"""Measurements of `benchmark.perf`: each row of its table is a class that compares our code with a plain reference."""
