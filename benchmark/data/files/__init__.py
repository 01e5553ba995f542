"""Reading volumes and cases from disk."""
