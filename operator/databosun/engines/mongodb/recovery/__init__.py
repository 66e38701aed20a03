"""A server of our own that a backup becomes."""
