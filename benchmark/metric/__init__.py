"""Transferability estimates: the score, the protocol, and base classes."""
