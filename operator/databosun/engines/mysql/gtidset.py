"""Which transactions of MySQL a stretch of its log holds, as the server writes such sets."""

from __future__ import annotations

import uuid
from typing import Any

from pymysql.connections import Connection

from databosun.engines.mysql.connect import one

_AT, _UUID_BYTES, _NUMBER_BYTES = 1, 16, 8


class GtidSet:
    """Collected in the order of a log: neighbours become one stretch, so that a long log takes little room."""

    def __init__(self) -> None:
        self._stretches: dict[str, list[list[int]]] = {}

    def add(self, body: bytes | bytearray) -> None:
        """One transaction, by the body of the event that begins it."""
        server = str(uuid.UUID(bytes=bytes(body[_AT : _AT + _UUID_BYTES])))
        at = _AT + _UUID_BYTES
        number = int.from_bytes(body[at : at + _NUMBER_BYTES], "little")
        stretches = self._stretches.setdefault(server, [])
        if stretches and stretches[-1][1] == number - 1:
            stretches[-1][1] = number
        else:
            stretches.append([number, number])

    def __str__(self) -> str:
        return ",".join(
            ":".join([server, *(f"{first}-{last}" for first, last in stretches)])
            for server, stretches in self._stretches.items()
        )


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
