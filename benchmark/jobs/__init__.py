"""Shared by all jobs: command line, keys, time limits, progress, provenance."""
