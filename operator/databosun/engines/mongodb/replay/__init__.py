"""Entries of the oplog, made to happen again: only with what every server offers, so without `applyOps`."""
