"""How a bench plans, launches and shows its jobs."""
