"""Connections: which host, in which TLS mode, and what it means when one is refused."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from databosun.api.v1alpha1.database import TLSMode
from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.base import Target
from databosun.engines.postgresql.faults import guarded, login_fault
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.reaching import combined, resolve

CONNECT_SECONDS = 10
APPLICATION = "databosun"
MAINTENANCE_DATABASES = ("postgres", "template1")

_INTRODUCTION = {"application_name": APPLICATION, "client_encoding": "UTF8"}

_SSLMODE = {
    TLSMode.DISABLE: "disable",
    TLSMode.REQUIRE: "require",
    TLSMode.VERIFY_CA: "verify-ca",
    TLSMode.VERIFY_FULL: "verify-full",
}

# A dead peer is noticed within about a minute, also while we only read.
_KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}

# What text forms of values depend on, fixed so that fingerprints compare; an empty path makes every name a full one.
SESSION = {
    "search_path": "",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "row_security": "off",
    "default_transaction_read_only": "on",
}

# Sizes and definitions are read under locks too: whoever holds a table for longer is named, not waited for.
_PATIENCE = {"lock_timeout": "60s"}

# The server notices a client that vanished (a killed pod) also in the middle of a long query or a wait for a lock.
_VANISHED = {"client_connection_check_interval": "5s"}
_CANCEL_SECONDS = 5.0

_PROCESS = (
    "SELECT pg_catalog.pg_backend_pid(), pg_catalog.host(pg_catalog.inet_server_addr()), pg_catalog.inet_server_port()"
)

Connection = psycopg.Connection[tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server to talk to: `host` as given (TLS checks it), `address` as resolved (None: a socket's folder)."""

    host: str
    port: int
    address: str | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Session:
    """One backup's or probe's view of the server: whom to ask, as whom, until when."""

    target: Target
    endpoint: Endpoint
    deadline: datetime | None = None

    @property
    def user(self) -> str:
        """The role that logs in."""
        return self.target.credentials.username


def conninfo(
    target: Target, endpoint: Endpoint, dbname: str | None, *, replication: bool = False, introduce: bool = True
) -> str:
    """A libpq connection string without the password. `introduce`: with the settings that we log in with."""
    credentials = target.credentials
    mode = target.database.tls
    options: dict[str, str | int] = {
        "host": endpoint.host,
        "port": endpoint.port,
        "user": credentials.username,
        "connect_timeout": CONNECT_SECONDS,
        "gssencmode": "disable",
        "sslmode": _SSLMODE[mode],
        **_KEEPALIVE,
        **(_INTRODUCTION if introduce else {}),
    }
    if endpoint.address:
        options["hostaddr"] = endpoint.address
    if credentials.ca and mode in (TLSMode.VERIFY_CA, TLSMode.VERIFY_FULL):
        options["sslrootcert"] = str(credentials.ca)
    if credentials.cert and credentials.key:
        options |= {"sslcert": str(credentials.cert), "sslkey": str(credentials.key)}
    if dbname is not None:
        options["dbname"] = dbname
    if replication:
        options["replication"] = "true"
    return make_conninfo("", **options)


def connect(target: Target, endpoint: Endpoint, dbname: str | None, *, replication: bool = False) -> Connection:
    """Log in within CONNECT_SECONDS. UserFault or WorldFault says what was refused and how to mend it."""
    where = f"{endpoint}" + (f"/{dbname}" if dbname else "")
    text = conninfo(target, endpoint, dbname, replication=replication, introduce=replication)
    try:
        connection = psycopg.connect(text, password=target.credentials.password, autocommit=True)
    except psycopg.OperationalError as error:
        raise login_fault(str(error), where=where, user=target.credentials.username, replication=replication) from error
    if not replication:  # which runs no SQL, and comes after a connection that does
        try:
            with guarded(f"asking {where} whether it is a server"):
                _demand_server(connection, endpoint)
                _set(connection, _INTRODUCTION)
        except BaseException:
            connection.close()
            raise
    return connection


def _demand_server(connection: Connection, endpoint: Endpoint) -> None:
    """UserFault(Pooler) before anything is set: what is, would be the application's that gets the session next. A
    name that is said at login stays there, too (seen with PgBouncer 1.18).

    A pooler hands out cancel keys of its own, so the process that it announced at login is none of the server's.
    """
    row = connection.execute(_PROCESS).fetchone()
    if row is None or row[0] == connection.info.backend_pid:
        return
    there = f"which is {row[1]}:{row[2]} to it" if row[1] else "which it reaches by a socket on its own host"
    message = (
        f"{endpoint} is a connection pooler, which shares the server's sessions with the application: what is set in "
        f"one would be the application's next, so nothing was done; point spec.connection at PostgreSQL itself, {there}"
    )
    raise UserFault(Reason.POOLER, message)


def open_sql(session: Session, dbname: str | None = None) -> Connection:
    """A read-only connection with the fixed settings; without `dbname` to the target's or a maintenance database."""
    wanted = dbname or session.target.database.database
    names = (wanted,) if wanted else MAINTENANCE_DATABASES
    for index, name in enumerate(names):
        try:
            connection = connect(session.target, session.endpoint, name)
        except UserFault as fault:
            if fault.reason in (Reason.NO_SUCH_DATABASE, Reason.NO_CONNECT_PRIVILEGE) and index + 1 < len(names):
                continue
            raise
        with guarded(f"session settings on {session.endpoint}"):
            prepare_session(connection)
        return connection
    message = f"{session.endpoint} has none of the databases {', '.join(names)}"
    raise UserFault(Reason.NO_SUCH_DATABASE, message)


def prepare_session(connection: Connection) -> None:
    """Fix what the text forms of values depend on."""
    _set(connection, SESSION | _VANISHED | _PATIENCE)


def _set(connection: Connection, settings: Mapping[str, str]) -> None:
    connection.execute(
        "SELECT pg_catalog.set_config(s.name, s.value, false) FROM unnest(%s::text[], %s::text[]) AS s(name, value)",
        (list(settings), list(settings.values())),
    )


def abandon(connection: Connection) -> None:
    """Close, after cancelling what still runs there: closing alone leaves the server at it."""
    if not connection.closed and connection.info.transaction_status is pq.TransactionStatus.ACTIVE:
        # Where the server cannot be told, it finds out by itself.
        with suppress(psycopg.Error):
            connection.cancel_safe(timeout=_CANCEL_SECONDS)
    connection.close()


def open_replication(session: Session) -> Connection:
    """A physical replication connection."""
    return connect(session.target, session.endpoint, None, replication=True)


def choose_endpoint(target: Target, *, prefer_standby: bool) -> Endpoint:
    """Where to work: with several hosts the first standby that answers (or the first primary), else whoever answers.

    Raises the first host's error where none answers; a wrong password on one host does not hide a good one.
    """
    fallback: Endpoint | None = None
    errors: list[DatabosunError] = []
    for host in target.database.hosts:
        for address in _addresses(host, target.database.port, errors):
            endpoint = Endpoint(host, target.database.port, address)
            try:
                standby = _is_standby(target, endpoint)
            except DatabosunError as fault:
                errors.append(fault)
                continue
            if standby == prefer_standby or len(target.database.hosts) == 1:
                return endpoint
            fallback = fallback or endpoint
            break
    if fallback:
        return fallback
    raise combined(errors)


def choose_primary(target: Target) -> Endpoint:
    """The host that takes writes; of several (one comes back after a failover) the one on the newest timeline.

    WorldFault(NoPrimary) where only standbys answer; else what the hosts said where none answers.
    """
    errors: list[DatabosunError] = []
    primaries: list[tuple[int, Endpoint]] = []
    standbys: list[Endpoint] = []
    for host in target.database.hosts:
        for address in _addresses(host, target.database.port, errors):
            endpoint = Endpoint(host, target.database.port, address)
            try:
                timeline = writes_on(target, endpoint)
            except DatabosunError as fault:
                errors.append(fault)
                continue
            if timeline is None:
                standbys.append(endpoint)
            else:
                primaries.append((timeline, endpoint))
            break
    if primaries:
        return max(primaries, key=lambda found: found[0])[1]
    if standbys:
        others = f"; {combined(errors).message}" if errors else ""
        message = f"{', '.join(map(str, standbys))} only replays, and the log is archived from the primary{others}"
        raise WorldFault(Reason.NO_PRIMARY, message)
    raise combined(errors)


def writes_on(target: Target, endpoint: Endpoint) -> int | None:
    """The timeline that a server writes; None where it is a standby."""
    statement = (
        "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL "
        "ELSE substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8) END"
    )
    with open_sql(Session(target, endpoint)) as connection, guarded(f"asking {endpoint} for its role"):
        row = connection.execute(statement).fetchone()
    return int(str(row[0]), 16) if row and row[0] is not None else None


def _is_standby(target: Target, endpoint: Endpoint) -> bool:
    with open_sql(Session(target, endpoint)) as connection, guarded(f"asking {endpoint} for its role"):
        row = connection.execute("SELECT pg_catalog.pg_is_in_recovery()").fetchone()
    return bool(row and row[0])


def _addresses(host: str, port: int, errors: list[DatabosunError]) -> tuple[str | None, ...]:
    if host.startswith("/"):
        return (None,)
    try:
        return resolve(host, port)
    except WorldFault as fault:
        errors.append(fault)
        return ()
