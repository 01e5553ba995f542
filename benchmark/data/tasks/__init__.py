"""Tasks: labelled data sets in the layouts of MSD and nnU-Net."""
