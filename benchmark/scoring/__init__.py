"""The passes of `score`: over the target, and the further ones that some metrics need."""
