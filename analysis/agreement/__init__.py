"""How well an estimate agrees with the truth, with its uncertainty."""
