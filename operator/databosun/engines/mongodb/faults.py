"""What MongoDB and its driver say when something is wrong, turned into an error that says who must act and how."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from bson.errors import BSONError
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    CursorNotFound,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, UserFault, WorldFault

_Meaning = tuple[type[DatabosunError], Reason, str]

_AGAIN = "the next attempt starts anew"
UNAUTHORIZED = 13
NO_SUCH_COMMAND = 59
NAMESPACE_EXISTS = 48
GRANT = 'db.getSiblingDB("admin").grantRolesToUser("{user}", [{{role: "{role}", db: "admin"}}])'

_ACCOUNT = "put the right user name and password of {user} into the Secret of spec.connection.credentialsSecretRef"
_STEPPED: _Meaning = (WorldFault, Reason.SERVER_STOPPED, f"an election or a shutdown; {_AGAIN}")
_SCARCE: _Meaning = (WorldFault, Reason.SERVER_OUT_OF_RESOURCES, "look at the server's memory, disk and log")
_CANCELED: _Meaning = (WorldFault, Reason.QUERY_CANCELED, _AGAIN)

# Numbers of errors, which never change:
# https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
_SERVER: Mapping[int, _Meaning] = {
    18: (UserFault, Reason.WRONG_PASSWORD, _ACCOUNT),
    8000: (UserFault, Reason.WRONG_PASSWORD, _ACCOUNT),
    UNAUTHORIZED: (UserFault, Reason.PERMISSION_DENIED, "run " + GRANT.format(user="{user}", role="backup")),
    **dict.fromkeys((91, 189, 10107, 11600, 11602, 13435, 13436), _STEPPED),
    **dict.fromkeys((50, 11601), _CANCELED),
    **dict.fromkeys((14031, 146, 39, 202), _SCARCE),
    43: (WorldFault, Reason.CONNECTION_LOST, f"the server gave up the cursor; {_AGAIN}"),
    175: (WorldFault, Reason.SCHEMA_CHANGED, f"a collection was dropped or renamed meanwhile; {_AGAIN}"),
    136: (WorldFault, Reason.OPLOG_OVERRUN, "make the oplog larger (replSetResizeOplog); the next run takes a Full"),
    **dict.fromkeys((54, 72), (UserFault, Reason.UNSUPPORTED_VERSION, "the server does not take what was asked")),
}

_WORDS: tuple[tuple[re.Pattern[str], _Meaning], ...] = tuple(
    (re.compile(words, re.IGNORECASE), meaning)
    for words, meaning in (
        (
            "certificate|SSL|TLS",
            (
                UserFault,
                Reason.TLS_FAILURE,
                "check that spec.connection.tls names the CA that signed the server's certificate, that it names this "
                "host (VerifyFull), and that the client certificate is one the server trusts",
            ),
        ),
        (
            "connection closed|Connection reset",
            (
                WorldFault,
                Reason.CONNECTION_LOST,
                "the server hung up, as one does that demands TLS (spec.connection.tls.mode) or has no connection left",
            ),
        ),
    )
)


def connect_fault(error: OSError, where: str) -> DatabosunError:
    """The error for a connection that was not made."""
    if isinstance(error, TimeoutError):
        message = (
            f"{where} did not answer in time; check network policies and firewalls between the Jobs and the database"
        )
        return WorldFault(Reason.CONNECT_TIMEOUT, message)
    if isinstance(error, ConnectionRefusedError):
        message = f"{where} refused the connection; check that the server is up, its net.bindIp, and the port"
        return WorldFault(Reason.CONNECTION_REFUSED, message)
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN):
        message = f"{where}: {error.strerror}; check the network and spec.connection.host"
        return WorldFault(Reason.HOST_UNREACHABLE, message)
    return WorldFault(Reason.CONNECT_FAILED, f"{where}: {error}; {_AGAIN}")


def no_tls_fault(where: str) -> DatabosunError:
    """The error for a server that lets a handshake wait, or hangs up: one without TLS takes it for a broken message."""
    message = (
        f"{where} does not speak TLS; turn it on there (net.tls.mode), or set spec.connection.tls.mode to Disable on a "
        "network you trust"
    )
    return UserFault(Reason.TLS_NOT_OFFERED, message)


def driver_fault(error: Exception, doing: str, user: str) -> DatabosunError:
    """The error for an exception of the driver."""
    text = f"{doing}: {_one_line(str(error))}"
    if isinstance(error, CursorNotFound):
        return WorldFault(Reason.CONNECTION_LOST, f"{text}; {_AGAIN}")
    if isinstance(error, OperationFailure):
        meaning = _SERVER.get(number_of(error))
        if meaning is None:
            return WorldFault(Reason.DATABASE_ERROR, text)
        fault, reason, advice = meaning
        return fault(reason, f"{text}; {advice.replace('{user}', user or 'the user')}")
    if isinstance(error, (ServerSelectionTimeoutError, AutoReconnect)):
        meaning = next((found for words, found in _WORDS if words.search(str(error))), None)
        if meaning is not None:
            fault, reason, advice = meaning
            return fault(reason, f"{text}; {advice}")
        lost = isinstance(error, AutoReconnect) and not isinstance(error, ServerSelectionTimeoutError)
        reason = Reason.CONNECT_TIMEOUT if isinstance(error, NetworkTimeout) else Reason.CONNECTION_LOST
        return WorldFault(reason if lost else Reason.CONNECT_FAILED, f"{text}; {_AGAIN}")
    if isinstance(error, ConfigurationError):
        return UserFault(Reason.AUTH_UNSUPPORTED, f"{text}; the driver cannot log in so")
    return WorldFault(Reason.DATABASE_ERROR, text)


@contextmanager
def guarded(doing: str, user: str = "") -> Iterator[None]:
    """Turn what the driver and the file system raise inside into the project's errors; interrupts pass through."""
    try:
        yield
    except (PyMongoError, BSONError) as error:
        raise driver_fault(error, doing, user) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserFault(Reason.SCRATCH_TOO_SMALL, f"{doing}: {error}; raise podTemplate.scratch.size") from error
        raise WorldFault(Reason.SYSTEM_ERROR, f"{doing}: {error}") from error


def number_of(error: Exception) -> int:
    """The server's number of an error; 0 where it has none."""
    if isinstance(error, BulkWriteError):
        found = (error.details or {}).get("writeErrors") or [{}]
        return int(found[0].get("code") or 0)
    return int(error.code or 0) if isinstance(error, OperationFailure) else 0


def _one_line(text: str) -> str:
    return " ".join(text.split())[:600]
