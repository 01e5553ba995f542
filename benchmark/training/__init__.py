"""Training: fine-tuning, inference and Dice, which give the truth."""
