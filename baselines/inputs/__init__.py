"""Inputs shared by several estimates: validation, class statistics and metric base classes."""
