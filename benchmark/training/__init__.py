"""The truth: fine-tuning, inference and Dice."""
