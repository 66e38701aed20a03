"""Failover tests of PostgreSQL under Patroni."""

from databosun.engines.postgresql.failover.provider import FAILOVER

__all__ = ["FAILOVER"]
