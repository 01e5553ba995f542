"""The fine-tuned truth: its pools, its reliability and the ceiling that follows."""
