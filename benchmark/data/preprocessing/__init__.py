"""How a case becomes the input of a network."""
