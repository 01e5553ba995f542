"""Preprocessing: from a stored case to the input of a network."""
