"""The operations that everything is computed with, each a folder: checks and dispatch, a torch reference, a kernel."""
