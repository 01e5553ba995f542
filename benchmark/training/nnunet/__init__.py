"""Training by nnU-Net's own trainer."""
