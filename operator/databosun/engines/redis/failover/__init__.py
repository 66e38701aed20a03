"""Failover tests of Redis and Valkey, under Sentinels or in a Cluster."""

from databosun.engines.redis.failover.open import FAILOVER

__all__ = ["FAILOVER"]
