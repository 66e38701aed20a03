"""What clients of a failover test are told, in words that all engines share."""

from __future__ import annotations

from collections.abc import Mapping

from databosun.api.failoverprobe import ErrorName

_BY_WORD: Mapping[str, ErrorName] = {
    "ConnectionRefused": ErrorName.CONNECTION_REFUSED,
    "ConnectionLost": ErrorName.CONNECTION_LOST,
    "UnknownHost": ErrorName.UNREACHABLE,
    "HostUnreachable": ErrorName.UNREACHABLE,
    "Timeout": ErrorName.TIMEOUT,
    "ConnectTimeout": ErrorName.TIMEOUT,
    "NoPrimary": ErrorName.NO_PRIMARY,
    "ServerNotReady": ErrorName.STARTING,
    "ServerStopped": ErrorName.SHUTTING_DOWN,
    "TooManyConnections": ErrorName.TOO_MANY_CONNECTIONS,
}
"""The reasons that engines give where a client is not let in, and what they call a connection that ended."""


def name_by_word(kind: str) -> ErrorName:
    """Of one of the words that engines share; Other for all else."""
    return _BY_WORD.get(kind, ErrorName.OTHER)
