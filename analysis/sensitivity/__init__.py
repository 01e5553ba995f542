"""Sensitivity of the results to settings."""
