"""Volumes and cases on disk."""
