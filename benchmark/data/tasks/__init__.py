"""Tasks: data sets with labels, in the layouts that are read."""
