"""Failover of MariaDB."""

from databosun.api.v1alpha1.database import EngineName
from databosun.engines.failover import Failover
from databosun.engines.mysql.failover.opening import SqlFailover

FAILOVER: Failover = SqlFailover(EngineName.MARIADB)
