"""Failover tests of MariaDB's asynchronous replication."""

from databosun.engines.mysql.failover.opening import FAILOVER

__all__ = ["FAILOVER"]
