"""Weights: load safely, match with a network, adapt, transfer and save."""
