"""The data sets that come with the project: real scans from packages, and synthetic ones."""
