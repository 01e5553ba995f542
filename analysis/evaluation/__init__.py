"""Every estimate and control measured against the truth."""
