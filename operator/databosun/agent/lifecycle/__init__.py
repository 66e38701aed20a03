"""Carry out the rules of a lifecycle: what is the same for every engine."""
