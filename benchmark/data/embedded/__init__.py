"""Data sets that come with the project: real scans from PyPI packages, and synthetic volumes."""
