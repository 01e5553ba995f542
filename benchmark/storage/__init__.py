"""Files of our own: written atomically, read with one clear error, and digested."""
