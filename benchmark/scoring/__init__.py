"""The passes of `score`: over the target, and the extra passes that some metrics need."""
