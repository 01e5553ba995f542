"""Truth, estimates and facts of sources from CSV files, and the study of these files."""
