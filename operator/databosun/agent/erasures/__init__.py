"""Erasures of one person: the ledger that a store keeps of them, and what a restore repeats of it."""
