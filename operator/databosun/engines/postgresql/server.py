"""What a server says about itself: version, role, settings, databases. Read once, decided upon elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg.rows import dict_row

from databosun.domain.errors import UserFault
from databosun.engines.postgresql.connect import Connection, Session, open_sql
from databosun.engines.postgresql.faults import guarded
from databosun.engines.postgresql.reasons import Reason

SUPPORTED_MAJORS = range(14, 19)

_SETTINGS = (
    "block_size",
    "data_checksums",
    "lc_messages",
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_replication_slots",
    "max_slot_wal_keep_size",
    "max_wal_senders",
    "max_worker_processes",
    "segment_size",
    "server_encoding",
    "shared_preload_libraries",
    "summarize_wal",
    "TimeZone",
    "track_commit_timestamp",
    "wal_level",
    "wal_log_hints",
    "wal_segment_size",
)


@dataclass(frozen=True, slots=True)
class Role:
    """The role that logs in, and what it may do."""

    name: str
    superuser: bool
    replication: bool
    bypass_rls: bool


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """One database of the server. `bytes` is None where the role may not connect to it."""

    oid: int
    name: str
    connectable: bool
    template: bool
    bytes: int | None


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """The server as one login saw it at `now` (the server's clock). `redo_lsn`: a standby's backup begins there, or
    later."""

    host: str
    version_num: int
    version_text: str
    system_identifier: str
    in_recovery: bool
    timeline: int
    now: datetime
    role: Role
    settings: Mapping[str, str]
    databases: tuple[DatabaseFacts, ...]
    redo_lsn: str = "0/0"

    @property
    def major(self) -> int:
        """The major version."""
        return self.version_num // 10000

    @property
    def version(self) -> str:
        """Major and minor, such as `15.20`."""
        return f"{self.major}.{self.version_num % 10000}"

    @property
    def bytes(self) -> int:
        """Size of all databases that the role may see."""
        return sum(database.bytes or 0 for database in self.databases)

    def dumpable(self) -> tuple[DatabaseFacts, ...]:
        """What a logical backup of the whole server holds: every connectable database that is no template."""
        return tuple(d for d in self.databases if d.connectable and not d.template)


_SERVER = """
SELECT pg_catalog.current_setting('server_version_num')::int AS version_num,
       pg_catalog.version() AS version_text,
       (pg_catalog.pg_control_system()).system_identifier::text AS system_identifier,
       pg_catalog.pg_is_in_recovery() AS in_recovery,
       (pg_catalog.pg_control_checkpoint()).timeline_id AS timeline,
       (pg_catalog.pg_control_checkpoint()).redo_lsn::text AS redo_lsn,
       pg_catalog.clock_timestamp() AS now
"""

_ROLE = """
SELECT r.rolname AS name, r.rolsuper AS superuser, r.rolsuper OR r.rolreplication AS replication,
       r.rolsuper OR r.rolbypassrls AS bypass_rls
FROM pg_catalog.pg_roles AS r WHERE r.rolname = CURRENT_USER
"""

_DATABASES = """
SELECT d.oid::int8 AS oid, d.datname AS name, d.datistemplate AS template,
       d.datallowconn AND d.datconnlimit <> -2 AS connectable,
       CASE WHEN d.datallowconn AND d.datconnlimit <> -2 AND (pg_catalog.has_database_privilege(d.oid, 'CONNECT')
                                     OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'))
            THEN pg_catalog.pg_database_size(d.oid) END AS bytes
FROM pg_catalog.pg_database AS d ORDER BY d.datname
"""


def gather_server(session: Session) -> ServerFacts:
    """Log in and read. UserFault(UnsupportedVersion) outside of SUPPORTED_MAJORS."""
    with open_sql(session) as connection, guarded(f"reading the facts of {session.endpoint}"):
        return read_facts(connection, session.endpoint.host)


def read_facts(connection: Connection, host: str) -> ServerFacts:
    """What `gather_server` does on a connection that is open already."""
    _demand_supported(connection.info.server_version, host)
    with connection.cursor(row_factory=dict_row) as cursor:
        server = cursor.execute(_SERVER).fetchone() or {}
        role = cursor.execute(_ROLE).fetchone() or {}
        databases = cursor.execute(_DATABASES).fetchall()
        settings = cursor.execute(
            "SELECT name, setting FROM pg_catalog.pg_settings WHERE name = ANY(%s)", (list(_SETTINGS),)
        ).fetchall()
    server["now"] = server["now"].astimezone(UTC)
    return ServerFacts(
        host=host,
        role=Role(**role),
        settings={row["name"]: row["setting"] for row in settings},
        databases=tuple(DatabaseFacts(**row) for row in databases),
        **server,
    )


def _demand_supported(version_num: int, host: str) -> None:
    major = version_num // 10000
    if major not in SUPPORTED_MAJORS:
        first, last = SUPPORTED_MAJORS[0], SUPPORTED_MAJORS[-1]
        message = f"{host} runs PostgreSQL {major}; expected one of {first} to {last}"
        raise UserFault(Reason.UNSUPPORTED_VERSION, message)
