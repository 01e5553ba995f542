"""Prepared cases: each is prepared once, stored in compressed blocks, and read box by box."""
