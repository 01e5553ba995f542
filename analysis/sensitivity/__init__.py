"""How results depend on settings."""
