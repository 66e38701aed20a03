"""Restores into a running PostgreSQL server: `BRIDGE`."""

from databosun.engines.postgresql.bridge.engine import BRIDGE

__all__ = ["BRIDGE"]
