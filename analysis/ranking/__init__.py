"""The order of a ranking, its tables and its page."""
