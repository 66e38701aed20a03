"""What servers say when something is wrong, turned into an error that says who must act and how."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.resp import ReplyError

NEEDED = "+psync +replconf +info +ping +pubsub|numsub"
CLUSTER_NEEDED = "+psync +replconf +info +ping +cluster|nodes"

_RULES: tuple[tuple[str, type[DatabosunError], str, str], ...] = (
    (
        "^NOPERM",
        UserFault,
        Reason.PERMISSION_DENIED,
        "run `ACL SETUSER {user} " + NEEDED + "` on every node, and keep it (ACL SAVE, or CONFIG REWRITE)",
    ),
    (
        "^WRONGPASS|^NOAUTH|invalid (username|password)|without any password configured",
        UserFault,
        Reason.WRONG_PASSWORD,
        "put the right user name and password into the Secret of spec.connection.credentialsSecretRef",
    ),
    (
        "^DENIED",
        UserFault,
        Reason.PERMISSION_DENIED,
        "the server takes no connections from outside (protected-mode): give its users passwords and `bind` it",
    ),
    ("^LOADING", WorldFault, Reason.SERVER_NOT_READY, "it reads its data; the next attempt starts anew"),
    ("^BUSY", WorldFault, Reason.SERVER_NOT_READY, "a script keeps it busy; the next attempt starts anew"),
    (
        "^MASTERDOWN|^NOMASTERLINK",
        WorldFault,
        Reason.REPLICA_STALE,
        "the replica has no link to its master; the next attempt looks anew",
    ),
    ("max number of clients", WorldFault, Reason.TOO_MANY_CONNECTIONS, "raise maxclients of the server"),
    ("^OOM|^MISCONF", WorldFault, Reason.SERVER_OUT_OF_RESOURCES, "look at the server's memory, disk and log"),
)


def reply_fault(error: ReplyError, doing: str, user: str) -> DatabosunError:
    """The error for what a server answered while `doing`."""
    said = " ".join(str(error).split())[:500]
    for pattern, fault, reason, advice in _RULES:
        if re.search(pattern, said):
            return fault(reason, f"{doing}: {said}; {advice.format(user=user or 'default')}")
    return WorldFault(Reason.DATABASE_ERROR, f"{doing}: {said}")


def connect_fault(error: OSError, where: str) -> DatabosunError:
    """The error for a connection that was not made."""
    if isinstance(error, ssl.SSLError):
        return _tls_fault(error, where)
    if isinstance(error, TimeoutError):
        message = (
            f"{where} did not answer in time; check network policies and firewalls between the Jobs and the database"
        )
        return WorldFault(Reason.CONNECT_TIMEOUT, message)
    if isinstance(error, ConnectionRefusedError):
        message = f"{where} refused the connection; check that the server is up, its `bind`, and spec.connection.port"
        return WorldFault(Reason.CONNECTION_REFUSED, message)
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN):
        message = f"{where}: {error.strerror}; check the network and spec.connection.host"
        return WorldFault(Reason.HOST_UNREACHABLE, message)
    if isinstance(error, socket.gaierror):
        return WorldFault(Reason.UNKNOWN_HOST, f"{where} has no address: {error}; check spec.connection.host")
    return WorldFault(Reason.CONNECT_FAILED, f"{where}: {error}; the next attempt starts anew")


def handshake_fault(where: str) -> DatabosunError:
    """The error for a server that lets a TLS handshake wait: one without TLS takes it for half a command."""
    message = (
        f"{where} did not answer the TLS handshake, as a server does that speaks no TLS; turn on `tls-port` there, or "
        "set spec.connection.tls.mode to Disable on a network you trust"
    )
    return WorldFault(Reason.TLS_NOT_OFFERED, message)


def _tls_fault(error: ssl.SSLError, where: str) -> DatabosunError:
    said = " ".join(str(error).split())
    if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING"):
        message = (
            f"{where} does not speak TLS ({said}); turn on `tls-port` there, or set spec.connection.tls.mode to "
            "Disable "
            "on a network you trust"
        )
        return UserFault(Reason.TLS_NOT_OFFERED, message)
    message = (
        f"{where}: {said}; check that spec.connection.tls names the CA that signed the server's certificate, that the "
        "certificate names this host (VerifyFull), and the client certificate (`tls-auth-clients`)"
    )
    return UserFault(Reason.TLS_FAILURE, message)


@contextmanager
def guarded(doing: str, user: str = "") -> Iterator[None]:
    """Turn what the server answers and the file system raises inside into the project's errors."""
    try:
        yield
    except ReplyError as error:
        raise reply_fault(error, doing, user) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserFault(Reason.SCRATCH_TOO_SMALL, f"{doing}: {error}; raise podTemplate.scratch.size") from error
        raise WorldFault(Reason.SYSTEM_ERROR, f"{doing}: {error}") from error
