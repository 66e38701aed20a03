"""Pinned programs that tests and the demo use, kept in a cache."""
