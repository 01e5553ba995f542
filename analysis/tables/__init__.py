"""Tables, and how they are shown."""
