"""How far the replicas are behind: those hosts of the Database that are some. The one that is written to does not know
how far others have come; how many there are, it does."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pymysql.connections import Connection

from databosun.domain.errors import DatabosunError
from databosun.engines.lifecycle import Strain
from databosun.engines.mysql.connect import Session, candidates, open_sql
from databosun.engines.mysql.lifecycle.statements import number, run
from databosun.engines.mysql.server import Replica, read_replica

# Our own archivers read the log as replicas do, and as fast as the store takes it.
_REPLICAS = """
SELECT COUNT(*) FROM information_schema.PROCESSLIST AS p
WHERE p.COMMAND IN ('Binlog Dump', 'Binlog Dump GTID') AND p.USER <> SUBSTRING_INDEX(CURRENT_USER(), '@', 1)
"""
SECONDS = 2.0  # for a replica to answer


def read_strain(connection: Connection[Any], session: Session) -> Strain:
    """The longest lag of those that say it. `unseen`: replicas that do not."""
    attached = number(run(connection, _REPLICAS)[0][0])
    seen = [lag for lag in (_lag(one) for one in _others(session)) if lag is not None]
    return Strain(
        max(seen, default=0.0),
        max(attached, len(seen)),
        max(0, attached - len(seen)),
        f"name them in spec.connection.hosts, and grant {session.dialect.monitor} to the login",
    )


def _others(session: Session) -> list[Session]:
    endpoints, _ = candidates(session.target)
    return [Session(session.target, one) for one in endpoints if one.host != session.endpoint.host]


def _lag(session: Session) -> float | None:
    """None where it is no replica, hides it, does not answer, or does not apply what it gets."""
    replica: Replica | None = None
    with suppress(DatabosunError):
        connection = open_sql(session, seconds=SECONDS)
        try:
            replica, _ = read_replica(connection, session.dialect)
        finally:
            connection.close()
    return replica.lag.total_seconds() if replica is not None and replica.lag is not None else None
