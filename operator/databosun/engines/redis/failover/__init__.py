"""Failover tests of Redis and Valkey that Sentinels watch."""

from databosun.engines.redis.failover.provider import FAILOVER

__all__ = ["FAILOVER"]
