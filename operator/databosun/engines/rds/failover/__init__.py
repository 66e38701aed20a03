"""Failover tests of Amazon RDS and Aurora."""

from databosun.engines.rds.failover.provider import FAILOVER

__all__ = ["FAILOVER"]
