"""Readers, one per checkpoint format, and the search for checkpoints in a folder."""
