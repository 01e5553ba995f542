"""Races: candidates are fine-tuned step by step, and those that fall behind are dropped."""
