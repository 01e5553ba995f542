"""The figures of a study. Each function returns a `matplotlib.figure.Figure` and uses no global state."""
