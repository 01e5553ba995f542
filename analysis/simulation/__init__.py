"""Simulated pools with known properties, which show what intervals, p-values and ceilings hold."""
