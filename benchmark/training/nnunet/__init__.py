"""Training with nnU-Net's own trainer."""
