"""A checkpoint becomes a network with named layers."""
