"""What a server of MySQL makes of sets of transactions."""

from __future__ import annotations

from typing import Any

from pymysql.connections import Connection

from databosun.engines.mysql.connect import one


def united(connection: Connection[Any], *sets: str) -> str:
    """All of them as one, in the server's own form."""
    (found,) = one(connection, "SELECT GTID_SUBTRACT(%s, '')", (",".join(filter(None, sets)),))
    return "".join(str(found).split())


def are_equal(connection: Connection[Any], one_set: str, other: str) -> bool:
    """Whether they hold the same transactions, however they are written."""
    (lacks, exceeds) = one(
        connection, "SELECT GTID_SUBTRACT(%s, %s), GTID_SUBTRACT(%s, %s)", (one_set, other, other, one_set)
    )
    return not lacks and not exceeds
