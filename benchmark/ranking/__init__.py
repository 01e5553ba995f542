"""Sources ordered for one target: passes that are kept by case, estimates of them, and resamples of the cases."""
