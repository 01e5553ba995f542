"""One reader for each checkpoint format, and the search for checkpoints in a folder."""
