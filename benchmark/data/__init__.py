"""A task on disk becomes cases."""
