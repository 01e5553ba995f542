"""Writing: folders of our own format, which every command reads, and of nnU-Net."""
