"""Failover tests of MongoDB's replica sets."""

from databosun.engines.mongodb.failover.provider import FAILOVER

__all__ = ["FAILOVER"]
