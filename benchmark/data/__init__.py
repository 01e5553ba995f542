"""Read labelled data sets from disk and prepare their cases."""
