"""Connections: which host, in which TLS mode, and what it means when one is refused."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pymysql
from pymysql.connections import Connection

from databosun.api.v1alpha1.database import TLSMode
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.base import Credentials, Target
from databosun.engines.mysql.dialect import Dialect, dialect_of
from databosun.engines.mysql.faults import guarded, login_fault
from databosun.engines.reaching import resolve

CONNECT_SECONDS = 10
APPLICATION = "databosun"
_CHARSET = "utf8mb4"
VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")

# A dead peer is noticed within about a minute, also while we only read.
_KEEPALIVE = {
    socket.TCP_KEEPIDLE: 30,
    socket.TCP_KEEPINTVL: 10,
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: 60_000,
}

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server to talk to: `host` as given (TLS checks it), `address` as resolved (None: a socket's path)."""

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
        """Who logs in."""
        return self.target.credentials.username

    @property
    def dialect(self) -> Dialect:
        """What the server is to speak."""
        return dialect_of(self.target.database.engine)


def open_sql(session: Session, *, read_only: bool = True, seconds: float = CONNECT_SECONDS) -> Connection[Any]:
    """Log in within `seconds`, with the fixed settings. UserFault or WorldFault says what was refused."""
    credentials = session.target.credentials
    where = str(session.endpoint)
    try:
        connection = _log_in(credentials, session.endpoint, session.target.database.tls, seconds)
    except (pymysql.MySQLError, OSError) as error:
        raise login_fault(error, where=where, user=credentials.username) from error
    try:
        with guarded(f"session settings on {where}"):
            (version,) = one(connection, "SELECT VERSION()")
            demand_supported(session.dialect, str(version), where)
            _prepare(connection, session.dialect, read_only=read_only)
    except BaseException:  # also an interrupt: the connection must not stay behind
        connection.close()
        raise
    return connection


def limit_statements(connection: Connection[Any], dialect: Dialect, seconds: float) -> None:
    """End what takes longer: at the server, where it can be told, and of any statement by no longer listening."""
    name, units = dialect.limit
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION {name} = %s", (max(1, int(seconds * units)) if units > 1 else seconds,))
    if dialect.limits_reads_only:
        connection._read_timeout = seconds + 1


def version_of(text: str) -> tuple[int, int, int]:
    """The numbers of a version; zeros where it is none."""
    found = VERSION.search(text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else (0, 0, 0)


def demand_supported(dialect: Dialect, version: str, host: str) -> None:
    """UserFault(UnsupportedVersion) before anything is said that another product would not understand."""
    first = ".".join(map(str, dialect.first))
    if not dialect.speaks(version):
        message = f"{host} runs {version}, which is no {dialect.name}; expected {dialect.name} {first} or later"
        raise UserFault(Reason.UNSUPPORTED_VERSION, message)
    if version_of(version) < dialect.first:
        message = f"{host} runs {dialect.name} {version}; expected {first} or later"
        raise UserFault(Reason.UNSUPPORTED_VERSION, message)


def _prepare(connection: Connection[Any], dialect: Dialect, *, read_only: bool) -> None:
    """Fix what the text forms of values depend on, and forbid writes."""
    settings = {**dialect.session, dialect.read_only: int(read_only)}
    names = ", ".join(f"SESSION {name} = %s" for name in settings)
    with connection.cursor() as cursor:
        cursor.execute(f"SET {names}", tuple(settings.values()))


def rows(connection: Connection[Any], statement: str, values: Sequence[object] = ()) -> list[Row]:
    """All rows of one statement."""
    with connection.cursor() as cursor:
        cursor.execute(statement, tuple(values) or None)
        return list(cursor.fetchall())


def one(connection: Connection[Any], statement: str, values: Sequence[object] = ()) -> Row:
    """The first row. WorldFault(DatabaseError) where there is none."""
    found = rows(connection, statement, values)
    if not found:
        raise WorldFault(Reason.DATABASE_ERROR, f"the server answered {statement.split()[0]} without a row")
    return found[0]


def quote(name: str) -> str:
    """An identifier."""
    return "`" + name.replace("`", "``") + "`"


@contextmanager
def opened(session: Session, *, read_only: bool = True) -> Iterator[Connection[Any]]:
    """A session for a while. Where the block raises, what still runs in it is ended at the server, too."""
    connection = open_sql(session, read_only=read_only)
    try:
        yield connection
    except BaseException:
        abandon(session, connection)
        raise
    # A program that worked in it may have ended it already.
    with suppress(pymysql.MySQLError, OSError):
        connection.close()


def abandon(session: Session, connection: Connection[Any]) -> None:
    """Close, after ending what still runs there: the server does not look whether anybody still listens."""
    thread = connection.thread_id()
    with suppress(pymysql.MySQLError, OSError):
        connection._force_close()
    # Where the server cannot be told, its own write to us ends it.
    with suppress(DatabosunError, pymysql.MySQLError, OSError):
        other = open_sql(session)
        try:
            with other.cursor() as cursor:
                cursor.execute(f"KILL {int(thread)}")
        finally:
            other.close()


def candidates(target: Target) -> tuple[list[Endpoint], list[DatabosunError]]:
    """Every address of every host, and what was wrong with those that have none."""
    found: list[Endpoint] = []
    errors: list[DatabosunError] = []
    port = target.database.port
    for host in target.database.hosts:
        if host.startswith("/"):
            found.append(Endpoint(host, port))
            continue
        try:
            found += [Endpoint(host, port, address) for address in resolve(host, port)]
        except WorldFault as fault:
            errors.append(fault)
    return found, errors


def _log_in(credentials: Credentials, endpoint: Endpoint, tls: TLSMode, seconds: float) -> Connection[Any]:
    """The driver falls back to plain text where it is told nothing of TLS: it is always told."""
    local = endpoint.address is None
    context = None if local or tls is TLSMode.DISABLE else _context(credentials, tls)
    connection: Connection[Any] = Connection(
        host=endpoint.host,
        user=credentials.username,
        password=credentials.password,
        charset=_CHARSET,
        autocommit=True,
        read_timeout=seconds,
        write_timeout=seconds,
        ssl=context,
        ssl_disabled=context is None,
        program_name=APPLICATION,
        defer_connect=True,
        local_infile=False,
    )
    connection.connect(_socket(endpoint, seconds))
    if context is not None and not isinstance(connection._sock, ssl.SSLSocket):
        connection.close()
        raise UserFault(Reason.TLS_NOT_OFFERED, f"{endpoint} went on without TLS, and tls.mode is {tls}")
    connection._read_timeout = connection._write_timeout = None  # a long query is silent for long
    return connection


def _socket(endpoint: Endpoint, seconds: float) -> socket.socket:
    if endpoint.address is None:
        local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        local.settimeout(seconds)
        local.connect(endpoint.host)
        return local
    made = socket.create_connection((endpoint.address, endpoint.port), timeout=seconds)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


def _context(credentials: Credentials, tls: TLSMode) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = tls is TLSMode.VERIFY_FULL
    context.verify_mode = ssl.CERT_NONE if tls is TLSMode.REQUIRE else ssl.CERT_REQUIRED
    try:
        if context.verify_mode is ssl.CERT_REQUIRED and credentials.ca:
            context.load_verify_locations(credentials.ca)
        if credentials.cert and credentials.key:
            context.load_cert_chain(credentials.cert, credentials.key)
    except OSError as error:
        raise UserFault(Reason.TLS_FAILURE, f"certificates of spec.connection.tls cannot be read: {error}") from error
    return context
