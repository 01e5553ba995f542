"""Weights: loaded safely, matched with a network, adapted, transferred, saved."""
