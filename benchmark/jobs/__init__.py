"""What every job shares: keys, the command line, time limits, progress, provenance."""
