"""Figures that others have published, to stand beside ours.

Yang et al., "Pick the Best Pre-trained Model: Towards Transferability Estimation for Medical Image Segmentation",
MICCAI 2023, arXiv 2307.11958, Table 1: the mean over five CT targets of the Medical Segmentation Decathlon (liver,
lung, pancreas, spleen, colon), all weights tuned, each pool trained on the other four. Another pool, other data and
another budget: they say where a method stood there, not what it should give here.
"""

CITATION = "arXiv 2307.11958, Table 1"

# metric -> measure -> the published mean over the five targets
PUBLISHED = {
    "ccfv": {"pearson": 0.7003, "weighted_kendall": 0.4986},
    "gbc": {"pearson": 0.3317, "weighted_kendall": 0.4111},
    "logme": {"pearson": 0.2082, "weighted_kendall": 0.0218},
}
