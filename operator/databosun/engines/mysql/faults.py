"""What MariaDB or MySQL says when something is wrong, turned into an error that says who must act and how."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pymysql

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, UserFault, WorldFault

_Meaning = tuple[type[DatabosunError], Reason, str]

_AGAIN = "the next attempt starts anew"
_CHECK_ACCOUNT = (
    "put the right user name and password of {user} into the Secret of spec.connection.credentialsSecretRef; where the "
    "account demands TLS (REQUIRE SSL), spec.connection.tls.mode must not be Disable"
)

# Numbers of errors, which never change: https://mariadb.com/kb/en/mariadb-error-code-reference/, and of MySQL, with the
# same numbers for all that is older than both: https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
_LOGIN: Mapping[int, _Meaning] = {
    1040: (WorldFault, Reason.TOO_MANY_CONNECTIONS, "raise max_connections"),
    1044: (UserFault, Reason.NO_CONNECT_PRIVILEGE, "run `GRANT SELECT ON … TO {user};`"),
    1045: (UserFault, Reason.WRONG_PASSWORD, _CHECK_ACCOUNT),
    1049: (UserFault, Reason.NO_SUCH_DATABASE, "correct spec.connection.database"),
    1129: (WorldFault, Reason.CONNECT_FAILED, "run `FLUSH HOSTS;`: too many connections from there were broken off"),
    1130: (UserFault, Reason.NO_SUCH_ROLE, "run `CREATE USER {user}@'%' …`, or name the network of the Jobs there"),
    1203: (WorldFault, Reason.TOO_MANY_CONNECTIONS, "raise max_user_connections"),
    1226: (WorldFault, Reason.TOO_MANY_CONNECTIONS, "raise the limits of the account (ALTER USER … WITH …)"),
    1524: (UserFault, Reason.AUTH_UNSUPPORTED, "use an account that logs in by password"),
    1698: (UserFault, Reason.WRONG_PASSWORD, "the account logs in over the server's own socket only: use another one"),
    1820: (UserFault, Reason.WRONG_PASSWORD, "the password has expired: ALTER USER {user} IDENTIFIED BY …"),
    1862: (UserFault, Reason.WRONG_PASSWORD, "the password has expired: ALTER USER {user} IDENTIFIED BY …"),
    2026: (
        UserFault,
        Reason.TLS_NOT_OFFERED,
        "turn TLS on in the server (ssl_cert, ssl_key), or set spec.connection.tls.mode to Disable on a network you "
        "trust",
    ),
    2059: (
        UserFault,
        Reason.AUTH_UNSUPPORTED,
        "use an account that logs in by mysql_native_password (MariaDB) or caching_sha2_password (MySQL)",
    ),
    3118: (UserFault, Reason.WRONG_PASSWORD, "the account is locked: ALTER USER {user} ACCOUNT UNLOCK"),
    3159: (UserFault, Reason.TLS_FAILURE, "the server demands TLS: set spec.connection.tls.mode to Require or more"),
    4151: (UserFault, Reason.WRONG_PASSWORD, "the account is locked: ALTER USER {user} ACCOUNT UNLOCK"),
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
            "refused",
            (
                WorldFault,
                Reason.CONNECTION_REFUSED,
                "check that the server is up, that bind-address covers this address, and spec.connection.port",
            ),
        ),
        (
            "timed out",
            (
                WorldFault,
                Reason.CONNECT_TIMEOUT,
                "check network policies and firewalls between the Job's pod and the database",
            ),
        ),
        (
            "no route to host|unreachable|host is down",
            (WorldFault, Reason.HOST_UNREACHABLE, "check the network and spec.connection.host"),
        ),
    )
)

_DENIED: _Meaning = (UserFault, Reason.PERMISSION_DENIED, "grant what the message names to the backup user")
_CHANGED: _Meaning = (WorldFault, Reason.SCHEMA_CHANGED, f"a table was changed meanwhile (DDL, TRUNCATE): {_AGAIN}")
_LOST: _Meaning = (WorldFault, Reason.CONNECTION_LOST, _AGAIN)
_CANCELED: _Meaning = (WorldFault, Reason.QUERY_CANCELED, _AGAIN)
_DAMAGED: _Meaning = (UserFault, Reason.DATA_CORRUPTED, "the server's own data is damaged: restore or repair it")
_SCARCE: _Meaning = (WorldFault, Reason.SERVER_OUT_OF_RESOURCES, "the server is out of memory, threads or disk")

_SERVER: Mapping[int, _Meaning] = {
    **dict.fromkeys((1044, 1142, 1143, 1227, 1370, 1410), _DENIED),
    **dict.fromkeys((1049, 1051, 1054, 1146, 1305, 1360, 1412, 1539), _CHANGED),
    **dict.fromkeys((1927, 2006, 2013, 2055, 3169, 4031), _LOST),
    **dict.fromkeys((1317, 1969, 3024), _CANCELED),
    **dict.fromkeys((126, 127, 1034, 1035, 1194, 1195, 1712, 1877, 1932), _DAMAGED),
    **dict.fromkeys((1020, 1021, 1037, 1038, 1041, 1135), _SCARCE),
    1356: (UserFault, Reason.VIEW_INVALID, "mend or drop the view: no dump gets past it"),
    1449: (UserFault, Reason.VIEW_INVALID, "create the account, or give the view another definer"),
    1053: (WorldFault, Reason.SERVER_STOPPED, "wait for the server"),
    1205: (WorldFault, Reason.LOCK_TIMEOUT, f"SHOW PROCESSLIST shows who keeps the table locked; {_AGAIN}"),
    1213: (WorldFault, Reason.DEADLOCK, _AGAIN),
    1236: (WorldFault, Reason.BINLOG_UNREADABLE, "see the server's log; the next run takes a Full where it must"),
}

# `mariadb-dump: Couldn't execute 'SHOW …': … (1412)`, `ERROR 1412 (HY000) at line 7: …`, `mysqldump: Error 1412: …`
_NUMBER = re.compile(r"\berror:? (\d{3,4})\b|\((\d{4})\)", re.IGNORECASE)
_CONNECTION = frozenset({2002, 2003, 2005})


def login_fault(error: Exception, *, where: str, user: str) -> DatabosunError:
    """The error for a refused or failed login."""
    number, said = _parts(error)
    text = f"connection to {where} as {user}: {said}"
    meaning = _LOGIN.get(number)
    if meaning is None:
        meaning = next((found for words, found in _WORDS if words.search(said)), None)
    if meaning is None:
        return WorldFault(Reason.CONNECT_FAILED, text)
    fault, reason, advice = meaning
    return fault(reason, f"{text}; {advice.format(user=user)}")


def server_fault(number: int, said: str, doing: str) -> DatabosunError:
    """The error for a failure that the server (or a tool on its behalf) reported while `doing`."""
    text = f"{doing}: {_one_line(said)}" + (f" (error {number})" if number else "")
    meaning = _SERVER.get(number)
    if meaning is None:
        return WorldFault(Reason.DATABASE_ERROR, text)
    fault, reason, advice = meaning
    return fault(reason, f"{text}; {advice}")


def tool_fault(said: str, doing: str) -> DatabosunError:
    """The error for a client program that ended badly; the server's number stands in its words where it has one."""
    if "No space left on device" in said:
        return UserFault(Reason.SCRATCH_TOO_SMALL, f"{doing}: {_one_line(said)}; raise podTemplate.scratch.size")
    found = _NUMBER.search(said)
    return server_fault(int(found[1] or found[2]) if found else 0, said, doing)


def driver_fault(error: pymysql.MySQLError, doing: str) -> DatabosunError:
    """The error for an exception of the driver."""
    number, said = _parts(error)
    if number in _CONNECTION or (number == 0 and isinstance(error, pymysql.InterfaceError)):
        return WorldFault(Reason.CONNECTION_LOST, f"{doing}: {said or 'the connection is closed'}; {_AGAIN}")
    return server_fault(number, said, doing)


@contextmanager
def guarded(doing: str) -> Iterator[None]:
    """Turn what the driver and the file system raise inside into the project's errors; interrupts pass through."""
    try:
        yield
    except pymysql.MySQLError as error:
        raise driver_fault(error, doing) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserFault(Reason.SCRATCH_TOO_SMALL, f"{doing}: {error}; raise podTemplate.scratch.size") from error
        raise WorldFault(Reason.SYSTEM_ERROR, f"{doing}: {error}") from error


def number_of(error: Exception) -> int:
    """The server's or the driver's number of an error; 0 where it has none."""
    return _parts(error)[0]


def _parts(error: Exception) -> tuple[int, str]:
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    said = " ".join(str(part) for part in (error.args[1:] if number else error.args))
    return number, _one_line(said)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:1000]
