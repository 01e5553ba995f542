"""What several estimates share: their inputs, read and checked once."""
