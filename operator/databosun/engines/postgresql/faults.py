"""What PostgreSQL says when something is wrong, turned into an error that says who must act and how."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.postgresql.reasons import Reason


@dataclass(frozen=True, slots=True)
class _Rule:
    """One message of libpq or of the server at login, who must act on it, and what to do."""

    pattern: re.Pattern[str]
    fault: type[DatabosunError]
    reason: str
    advice: str


def _rule(pattern: str, fault: type[DatabosunError], reason: str, advice: str) -> _Rule:
    return _Rule(re.compile(pattern, re.IGNORECASE | re.DOTALL), fault, reason, advice)


_HBA = (
    "add a line such as `host {kind} {user} <network of the Jobs> scram-sha-256` to pg_hba.conf "
    "(`hostssl` to demand TLS) and run `SELECT pg_reload_conf();`"
)

# libpq gives no SQLSTATE for a refused login, so the words must do; they are tried in this order.
_LOGIN = (
    _rule("no pg_hba.conf entry|pg_hba.conf rejects", UserFault, Reason.NO_PG_HBA_ENTRY, _HBA),
    _rule(
        "unsupported startup parameter[^:]*: replication",
        UserFault,
        Reason.PG_BOUNCER,
        "a PgBouncer before 1.23 cannot carry replication connections: point spec.connection at PostgreSQL itself",
    ),
    _rule(
        "password authentication failed|no password supplied|authentication failed for user",
        UserFault,
        Reason.WRONG_PASSWORD,
        "put the right user name and password of role {user} into the Secret of spec.connection.credentialsSecretRef",
    ),
    _rule(
        "must be superuser or replication role|permission denied to start WAL sender",
        UserFault,
        Reason.NO_REPLICATION_PRIVILEGE,
        'run `ALTER ROLE "{user}" REPLICATION;`',
    ),
    _rule(
        'role ".*" does not exist|is not permitted to log in',
        UserFault,
        Reason.NO_SUCH_ROLE,
        'run `CREATE ROLE "{user}" LOGIN …` or correct the user name in the Secret of '
        "spec.connection.credentialsSecretRef",
    ),
    _rule(
        "permission denied for database|does not have CONNECT privilege",
        UserFault,
        Reason.NO_CONNECT_PRIVILEGE,
        'run `GRANT CONNECT ON DATABASE … TO "{user}";`',
    ),
    _rule('database ".*" does not exist', UserFault, Reason.NO_SUCH_DATABASE, "correct spec.connection.database"),
    _rule(
        "server does not support SSL",
        UserFault,
        Reason.TLS_NOT_OFFERED,
        "turn on `ssl` in the server's configuration, or set spec.connection.tls.mode to Disable on a network you "
        "trust",
    ),
    _rule(
        "certificate|SSL error|could not (load|read|open).*(key|SSL)|tls|ssl negotiation",
        UserFault,
        Reason.TLS_FAILURE,
        "check that spec.connection.tls names the CA that signed the server's certificate, that the certificate names "
        "this host "
        "(VerifyFull), and that the client certificate is one the server trusts",
    ),
    _rule(
        "could not translate host name|name or service not known|no address associated",
        WorldFault,
        Reason.UNKNOWN_HOST,
        "check spec.connection.host",
    ),
    _rule(
        "connection refused",
        WorldFault,
        Reason.CONNECTION_REFUSED,
        "check that the server is up, that listen_addresses covers this address, and spec.connection.port",
    ),
    _rule(
        "timeout expired|timed out",
        WorldFault,
        Reason.CONNECT_TIMEOUT,
        "check network policies and firewalls between the Job's pod and the database",
    ),
    _rule(
        "no route to host|network is unreachable|host is down",
        WorldFault,
        Reason.HOST_UNREACHABLE,
        "check the network and spec.connection.host",
    ),
    _rule(
        "starting up|shutting down|in recovery mode|not yet accepting|not accepting connections",
        WorldFault,
        Reason.SERVER_NOT_READY,
        "wait for the server",
    ),
    _rule(
        "exceeds max_wal_senders",
        WorldFault,
        Reason.NO_WAL_SENDER,
        "all walsenders are taken: raise max_wal_senders (needs a restart) or wait for the others to end",
    ),
    _rule(
        "too many clients|connection slots are reserved|too many connections",
        WorldFault,
        Reason.TOO_MANY_CONNECTIONS,
        "raise max_connections or the role's connection limit",
    ),
)


def login_fault(text: str, *, where: str, user: str, replication: bool) -> DatabosunError:
    """The error for a refused or failed login, from libpq's own words (in other languages: ConnectFailed, retried)."""
    said = _one_line(text)
    kind = "replication connection" if replication else "connection"
    for rule in _LOGIN:
        if rule.pattern.search(said):
            advice = rule.advice.format(user=user, kind="replication" if replication else "all")
            return rule.fault(rule.reason, f"{kind} to {where} as {user}: {said}; {advice}")
    return WorldFault(Reason.CONNECT_FAILED, f"{kind} to {where} as {user}: {said}")


_CODES: tuple[tuple[str, type[DatabosunError], str], ...] = (
    ("42501", UserFault, Reason.PERMISSION_DENIED),
    ("40001", WorldFault, Reason.RECOVERY_CONFLICT),
    ("40P01", WorldFault, Reason.DEADLOCK),
    ("55P03", WorldFault, Reason.LOCK_TIMEOUT),
    ("57014", WorldFault, Reason.QUERY_CANCELED),
    ("57P", WorldFault, Reason.SERVER_STOPPED),
    ("53", WorldFault, Reason.SERVER_OUT_OF_RESOURCES),
    ("08", WorldFault, Reason.CONNECTION_LOST),
    ("58P01", WorldFault, Reason.WAL_REMOVED),
    ("58", WorldFault, Reason.SERVER_STORAGE),
    ("XX001", UserFault, Reason.DATA_CORRUPTED),
    ("XX002", UserFault, Reason.DATA_CORRUPTED),
    ("42P01", WorldFault, Reason.SCHEMA_CHANGED),
    ("42703", WorldFault, Reason.SCHEMA_CHANGED),
    ("3F000", WorldFault, Reason.SCHEMA_CHANGED),
)

# Where the words say more than the code: conditions that share one SQLSTATE with harmless ones.
_WORDS: tuple[tuple[re.Pattern[str], type[DatabosunError], str, str], ...] = (
    (
        re.compile("standby was promoted during online backup"),
        WorldFault,
        Reason.PROMOTED,
        "the next attempt starts anew",
    ),
    (
        re.compile("full_page_writes=off"),
        UserFault,
        Reason.FULL_PAGE_WRITES_OFF,
        "set `full_page_writes = on` on the primary, or let the backup be taken from the primary",
    ),
    (
        re.compile("checksum verification failure|invalid page in block"),
        UserFault,
        Reason.DATA_CORRUPTED,
        "the server's own data is damaged: restore or repair it",
    ),
    (
        re.compile("WAL segment .* has already been removed|could not find any WAL files|could not find WAL file"),
        WorldFault,
        Reason.WAL_REMOVED,
        "the server recycled WAL that the backup needs: raise wal_keep_size or allow one more replication slot "
        "(max_replication_slots)",
    ),
    (
        re.compile("WAL level not sufficient"),
        UserFault,
        Reason.WAL_LEVEL_MINIMAL,
        "set `wal_level = replica` and restart the server",
    ),
    (
        re.compile("row-level security"),
        UserFault,
        Reason.ROW_LEVEL_SECURITY,
        "run `ALTER ROLE <the backup role> BYPASSRLS;`",
    ),
    (
        re.compile("permission denied for large object"),
        UserFault,
        Reason.LARGE_OBJECTS_UNREADABLE,
        "run `ALTER ROLE <the backup role> SET lo_compat_privileges = on;`",
    ),
    (
        re.compile("could not obtain lock on relation|canceling statement due to lock timeout"),
        WorldFault,
        Reason.LOCK_TIMEOUT,
        "pg_locks shows who keeps the table locked; the next attempt starts anew",
    ),
    (
        re.compile("cache lookup failed|could not open relation with OID|was concurrently|could not find .* tuple"),
        WorldFault,
        Reason.SCHEMA_CHANGED,
        "the schema changed while the backup began (DDL, TRUNCATE): the next attempt starts anew",
    ),
    (
        re.compile("canceling statement due to conflict with recovery|conflict with recovery"),
        WorldFault,
        Reason.RECOVERY_CONFLICT,
        "raise max_standby_streaming_delay or use hot_standby_feedback on the standby",
    ),
    (
        re.compile("permission denied for|must be owner of|must have privileges"),
        UserFault,
        Reason.PERMISSION_DENIED,
        "run `GRANT pg_read_all_data TO <the backup role>;`",
    ),
    (
        re.compile(
            "server closed the connection|connection to server was lost|terminating connection|SSL connection has "
            "been closed|could not receive data|SSL SYSCALL"
        ),
        WorldFault,
        Reason.CONNECTION_LOST,
        "the next attempt starts anew",
    ),
    (
        re.compile("password authentication failed"),
        UserFault,
        Reason.WRONG_PASSWORD,
        "put the right password into the Secret of spec.connection.credentialsSecretRef",
    ),
    (
        re.compile("connection to server at .* failed"),
        WorldFault,
        Reason.CONNECT_FAILED,
        "the next attempt starts anew",
    ),
)


def server_fault(said: str, sqlstate: str | None, doing: str) -> DatabosunError:
    """The error for a failure that the server (or a tool on its behalf) reported while `doing`."""
    text = _one_line(said)
    for pattern, fault, reason, advice in _WORDS:
        if pattern.search(text):
            return fault(reason, f"{doing}: {text}; {advice}")
    for prefix, fault, reason in _CODES:
        if sqlstate and sqlstate.startswith(prefix):
            return fault(reason, f"{doing}: {text} (SQLSTATE {sqlstate})")
    return WorldFault(Reason.DATABASE_ERROR, f"{doing}: {text}" + (f" (SQLSTATE {sqlstate})" if sqlstate else ""))


def tool_fault(stderr: str, doing: str) -> DatabosunError:
    """The error for a client program that ended badly; its words come from libpq, from the server, or from itself."""
    local = "No space left on device" in stderr and "ERROR:" not in stderr
    if local:
        return UserFault(Reason.SCRATCH_TOO_SMALL, f"{doing}: {_one_line(stderr)}; raise podTemplate.scratch.size")
    return server_fault(stderr, None, doing)


def psycopg_fault(error: psycopg.Error, doing: str) -> DatabosunError:
    """The error for an exception of the driver."""
    if error.sqlstate is None and isinstance(error, psycopg.OperationalError):
        return WorldFault(Reason.CONNECTION_LOST, f"{doing}: {_one_line(str(error))}; the next attempt starts anew")
    parts = [error.diag.message_primary or str(error), error.diag.message_detail, error.diag.message_hint]
    return server_fault("; ".join(part for part in parts if part), error.sqlstate, doing)


@contextmanager
def guarded(doing: str) -> Iterator[None]:
    """Turn what the driver and the file system raise inside into the project's errors; interrupts pass through."""
    try:
        yield
    except psycopg.Error as error:
        raise psycopg_fault(error, doing) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserFault(Reason.SCRATCH_TOO_SMALL, f"{doing}: {error}; raise podTemplate.scratch.size") from error
        raise WorldFault(Reason.SYSTEM_ERROR, f"{doing}: {error}") from error


def _one_line(text: str) -> str:
    return " ".join(text.split())[:1000]
