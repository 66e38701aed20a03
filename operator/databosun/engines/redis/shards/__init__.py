"""Backups of a Redis Cluster: every shard of it, copied together, and proven and restored one after the other."""
