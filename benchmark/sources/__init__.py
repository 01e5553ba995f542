"""Sources: read checkpoints as networks whose layers are known."""
