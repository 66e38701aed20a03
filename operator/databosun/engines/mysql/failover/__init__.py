"""Failover tests of MariaDB's asynchronous replication."""

from databosun.engines.mysql.failover.provider import FAILOVER

__all__ = ["FAILOVER"]
