"""What a server says about itself: version, settings, schemas, its place in a replication. Read once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import DictCursor

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, WorldFault
from databosun.engines.base import Target
from databosun.engines.mysql.connect import VERSION, Endpoint, Session, candidates, one, open_sql, rows, version_of
from databosun.engines.mysql.dialect import Dialect
from databosun.engines.mysql.faults import guarded, number_of
from databosun.engines.reaching import combined

# The last is a folder that ext4 makes in a volume of its own, which the server takes for a schema.
SYSTEM_SCHEMAS = ("information_schema", "performance_schema", "mysql", "sys", "#mysql50#lost+found")
# A replica further behind than this is no better than no replica.
MAX_LAG = timedelta(minutes=5)
# The account may not ask: for a privilege on the server, or on a table of its own.
_HIDDEN = frozenset({1142, 1227})

_LOGS_REPLICATED = ("log_replica_updates", "log_slave_updates")

_SETTINGS = (
    "aria_log_dir_path",
    "binlog_format",
    "character_set_server",
    "collation_server",
    "datadir",
    "event_scheduler",
    "gtid_mode",
    "hostname",
    "innodb_data_file_path",
    "innodb_data_home_dir",
    "innodb_default_row_format",
    "innodb_log_group_home_dir",
    "innodb_page_size",
    "innodb_undo_directory",
    "innodb_undo_tablespaces",
    "log_bin",
    *_LOGS_REPLICATED,
    "lower_case_table_names",
    "max_allowed_packet",
    "partial_revokes",
    "read_only",
    "server_id",
    "sql_mode",
    "version",
    "version_comment",
    "version_compile_machine",
    "version_compile_os",
    "wsrep_on",
)


@dataclass(frozen=True, slots=True)
class Replica:
    """How far a replica is. `lag` is None where it does not apply what it gets."""

    lag: timedelta | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """The server as one login saw it at `now` (the server's clock).

    `schemas`: those that are not the server's own, with the bytes of each. `replica`: None on a primary;
    `replica_hidden`: it might be one, and the account may not see. `system_identifier`: None where it is hidden too.
    """

    host: str
    settings: Mapping[str, str]
    user: str
    now: datetime
    system_identifier: str | None
    schemas: Mapping[str, int]
    replica: Replica | None = None
    replica_hidden: bool = False

    @property
    def version(self) -> str:
        """Such as `10.11.19`."""
        found = VERSION.search(self.settings["version"])
        return found[0] if found else self.settings["version"]

    @property
    def series(self) -> tuple[int, int]:
        """Such as (10, 11)."""
        return series_of(self.settings["version"])

    @property
    def bytes(self) -> int:
        """Data and indexes of all schemas."""
        return sum(self.schemas.values())

    @property
    def log_bin(self) -> bool:
        """Whether it writes a binary log."""
        return self.settings.get("log_bin") in ("1", "ON")

    @property
    def replica_like(self) -> bool:
        """Whether it is a replica, or might be one."""
        return self.replica is not None or self.replica_hidden

    @property
    def logs_all(self) -> bool:
        """Whether its binary log has all that its data has: a replica logs what it replicates only if told to."""
        return self.log_bin and (self.replica is None or self.settings.get(self.logs_replicated) in ("1", "ON"))

    @property
    def logs_replicated(self) -> str:
        """The setting that has a replica log what it replicates: renamed in MySQL 8.0.26."""
        return next((name for name in _LOGS_REPLICATED if name in self.settings), _LOGS_REPLICATED[-1])


def series_of(version: str) -> tuple[int, int]:
    """The release series of a version; (0, 0) where it is none."""
    return version_of(version)[:2]


def gather_server(session: Session) -> ServerFacts:
    """Log in and read."""
    connection = open_sql(session)
    try:
        with guarded(f"reading the facts of {session.endpoint}"):
            return read_facts(connection, session)
    finally:
        connection.close()


def read_facts(connection: Connection[Any], session: Session) -> ServerFacts:
    """What `gather_server` does on a connection that is open already."""
    names = ", ".join(f"'{name}'" for name in _SETTINGS)
    settings = {
        str(name): str(value)
        for name, value in rows(connection, f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")
    }
    user, now = one(connection, "SELECT CURRENT_USER(), UTC_TIMESTAMP(6)")
    sizes = rows(
        connection,
        "SELECT s.SCHEMA_NAME, COALESCE(SUM(t.DATA_LENGTH + t.INDEX_LENGTH), 0) FROM information_schema.SCHEMATA AS s "
        "LEFT JOIN information_schema.TABLES AS t ON t.TABLE_SCHEMA = s.SCHEMA_NAME AND t.TABLE_TYPE <> 'VIEW' "
        "WHERE s.SCHEMA_NAME NOT IN %s GROUP BY 1 ORDER BY 1",
        (SYSTEM_SCHEMAS,),
    )
    replica, hidden = read_replica(connection, session.dialect)
    return ServerFacts(
        host=str(session.endpoint),
        settings=settings,
        user=str(user),
        now=now.replace(tzinfo=UTC),
        system_identifier=_identity(connection, session.dialect),
        schemas={str(name): int(size) for name, size in sizes},
        replica=replica,
        replica_hidden=hidden,
    )


def choose_session(target: Target, deadline: datetime | None = None) -> Session:
    """Where to work: of several hosts the first replica that is up to date, else the first that takes writes.

    Raises the first host's error where none answers; a wrong password on one host does not hide a good one.
    """
    endpoints, errors = candidates(target)
    fallback: Session | None = None
    seen: set[str] = set()
    for endpoint in endpoints:
        if endpoint.host in seen:
            continue
        session = Session(target, endpoint, deadline)
        try:
            connection = open_sql(session)
        except DatabosunError as fault:
            errors.append(fault)
            continue
        seen.add(endpoint.host)
        try:
            with guarded(f"asking {endpoint} for its role"):
                replica, hidden = read_replica(connection, session.dialect)
        finally:
            connection.close()
        if len(target.database.hosts) == 1 or (replica and replica.lag is not None and replica.lag <= MAX_LAG):
            return session
        if replica is None and not hidden:
            fallback = fallback or session
        else:
            why = replica.problem or "it lags behind" if replica else "its lag is hidden from the account"
            errors.append(WorldFault(Reason.REPLICA_UNFIT, f"{endpoint} is a replica that cannot be used: {why}"))
    if fallback:
        return fallback
    raise combined(errors)


def archived_here(session: Session, facts: ServerFacts) -> bool:
    """Whether this server's binary log is the one that an archiver ships: of several hosts that of the primary."""
    return facts.logs_all and (len(session.target.database.hosts) == 1 or not facts.replica_like)


def choose_source(target: Target) -> Session:
    """Whose binary log is shipped: the one host's, or of several that of the one that takes writes."""
    if len(target.database.hosts) == 1:
        return choose_session(target)
    return Session(target, choose_primary(target))


def choose_primary(target: Target) -> Endpoint:
    """The host that takes writes. WorldFault(NoPrimary) where only read-only ones answer."""
    endpoints, errors = candidates(target)
    read_only: list[str] = []
    for endpoint in endpoints:
        try:
            connection = open_sql(Session(target, endpoint))
        except DatabosunError as fault:
            errors.append(fault)
            continue
        try:
            with guarded(f"asking {endpoint} for its role"):
                (refuses,) = one(connection, "SELECT @@GLOBAL.read_only")
        finally:
            connection.close()
        if not refuses:
            return endpoint
        read_only.append(str(endpoint))
    if read_only:
        raise WorldFault(Reason.NO_PRIMARY, f"{', '.join(read_only)} is read-only, and no host takes writes")
    raise combined(errors)


def read_replica(connection: Connection[Any], dialect: Dialect) -> tuple[Replica | None, bool]:
    """Its place in a replication, and whether that is hidden from the account while it looks like a replica."""
    try:
        with connection.cursor(DictCursor) as cursor:
            cursor.execute(dialect.replicas)
            found = list(cursor.fetchall())
        if not found:
            return _member(connection, dialect), False
    except pymysql.MySQLError as error:
        if number_of(error) in _HIDDEN:
            (read_only,) = one(connection, "SELECT @@GLOBAL.read_only")
            return None, bool(read_only)
        raise
    lags = [row.get(dialect.lag) for row in found]
    broken = [row for row, lag in zip(found, lags, strict=True) if lag is None]
    if broken:
        said = broken[0].get("Last_SQL_Error") or broken[0].get("Last_IO_Error") or "replication is stopped"
        return Replica(None, str(said)), False
    return Replica(timedelta(seconds=max(int(lag) for lag in lags if lag is not None))), False


def _member(connection: Connection[Any], dialect: Dialect) -> Replica | None:
    """A secondary of a group replicates, too, and no statement says how far it is behind."""
    if dialect.groups is None:
        return None
    role = rows(connection, dialect.groups)
    if not role or role[0][0] == "PRIMARY":
        return None
    return Replica(None, "it is a secondary of a replication group, whose lag is not known: name the primary")


def _identity(connection: Connection[Any], dialect: Dialect) -> str | None:
    """None where it is hidden from the account."""
    found = rows(connection, dialect.identity)
    if not found or dialect.identity_is_name:
        return f"{dialect.name.lower()}-{found[0][0]}" if found else None
    return f"{dialect.name.lower()}-" + hashlib.sha256(str(found[0][0]).encode()).hexdigest()[:24]
