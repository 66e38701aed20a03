"""What a restored copy will need around it: platform, collations, extensions, settings, tablespaces."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from psycopg.rows import dict_row

from databosun.domain.errors import UserFault, WorldFault
from databosun.engines.postgresql.connect import Connection, Session, open_sql
from databosun.engines.postgresql.faults import guarded
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.server import ServerFacts

# Recovery refuses to start with less than the primary had (manual, "Hot Standby", Administrator's Overview).
RECOVERY_SETTINGS = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)

_PLATFORM = re.compile(r" on (\S+?),")

_TABLESPACES = """
SELECT t.oid::int8 AS oid, t.spcname AS name, pg_catalog.pg_tablespace_location(t.oid) AS location
FROM pg_catalog.pg_tablespace AS t WHERE t.spcname NOT IN ('pg_default', 'pg_global') ORDER BY t.oid
"""

_EXTENSIONS = "SELECT e.extname AS name, e.extversion AS version FROM pg_catalog.pg_extension AS e ORDER BY e.extname"

# 14 keeps no version for a database's default collation; 17 renamed the column of the locale.
_COLLATION_14 = "NULL::text AS version, NULL::text AS actual, 'c' AS provider, NULL::text AS locale"
_COLLATION_15 = (
    "d.datcollversion AS version, pg_catalog.pg_database_collation_actual_version(d.oid) AS actual, "
    "d.datlocprovider::text AS provider, d.daticulocale AS locale"
)
_COLLATION_17 = _COLLATION_15.replace("d.daticulocale", "d.datlocale")

_DATABASES = """
SELECT d.oid::int8 AS oid, d.datname AS name, d.datistemplate AS template,
       d.datallowconn AND d.datconnlimit <> -2 AS connectable,
       pg_catalog.pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS collate, d.datctype AS ctype, {collation}
FROM pg_catalog.pg_database AS d ORDER BY d.datname
"""

_PROVIDER_VERSIONS = """
SELECT c.collprovider::text AS provider, pg_catalog.max(c.collversion) AS version
FROM pg_catalog.pg_collation AS c WHERE c.collversion IS NOT NULL AND c.collprovider IN ('c', 'i') GROUP BY 1
"""
_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}


def gather_environment(session: Session, facts: ServerFacts) -> dict[str, Any]:
    """Read it all; databases that cannot be connected to are listed without their extensions."""
    with open_sql(session) as connection, guarded("reading the server's environment"):
        databases = _databases(connection, facts)
        providers = {row["provider"]: row["version"] for row in _rows(connection, _PROVIDER_VERSIONS)}
        superuser = _rows(connection, "SELECT r.rolname AS name FROM pg_catalog.pg_roles AS r WHERE r.oid = 10")
        tablespaces = _rows(connection, _TABLESPACES)
    for database in databases:
        if database["connectable"]:
            database["extensions"] = _extensions(session, database["name"])
    platform = _PLATFORM.search(facts.version_text)
    return {
        "platform": platform[1] if platform else facts.version_text,
        "arch": platform[1].split("-")[0] if platform else None,
        "libc": providers.get("c"),
        "icu": providers.get("i"),
        "versionText": facts.version_text,
        "collations": sorted({f"{d['provider']}:{d['collate']}" for d in databases}),
        "databases": databases,
        "preload": _split(facts.settings.get("shared_preload_libraries")),
        "settings": dict(facts.settings),
        "bootstrapSuperuser": superuser[0]["name"] if superuser else None,
        "tablespaces": tablespaces,
        "inRecovery": facts.in_recovery,
    }


def mark_kept(session: Session, environment: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Say of each database whether it outlived the backup (`kept`): only then must a restored copy have it.

    Null, and a note, where the server could not be asked any more: that costs a check, never the backup.
    """
    try:
        with open_sql(session) as connection:
            rows = _rows(connection, "SELECT d.oid::int8 AS oid FROM pg_catalog.pg_database AS d")
    except (UserFault, WorldFault) as fault:
        said = f"which databases outlived the backup is not known ({fault.message}); a copy is asked for none"
        note = f"{Reason.DATABASES_UNKNOWN}: {said}"
        return _with_kept(environment, None), (note,)
    return _with_kept(environment, {int(row["oid"]) for row in rows}), ()


def _with_kept(environment: Mapping[str, Any], kept: set[int] | None) -> dict[str, Any]:
    marked = [{**one, "kept": None if kept is None else one["oid"] in kept} for one in environment["databases"]]
    return {**environment, "databases": marked}


def _databases(connection: Connection, facts: ServerFacts) -> list[dict[str, Any]]:
    collation = _COLLATION_14 if facts.major < 15 else _COLLATION_15 if facts.major < 17 else _COLLATION_17
    rows = _rows(connection, _DATABASES.format(collation=collation))
    for row in rows:
        row["provider"] = _PROVIDERS.get(row["provider"], row["provider"])
    return rows


def _extensions(session: Session, dbname: str) -> list[dict[str, Any]] | None:
    """None where the role may not connect there: unknown is not the same as none."""
    try:
        with open_sql(session, dbname) as connection:
            return _rows(connection, _EXTENSIONS)
    except UserFault:
        return None


def _rows(connection: Connection, query: str) -> list[dict[str, Any]]:
    with guarded("reading the server's environment"), connection.cursor(row_factory=dict_row) as cursor:
        return [dict(row) for row in cursor.execute(query.encode()).fetchall()]


def _split(value: str | None) -> list[str] | None:
    """None: the setting is hidden from this role."""
    if value is None:
        return None
    return [part.strip().strip('"') for part in value.split(",") if part.strip()]


def recovery_settings(environment: Mapping[str, Any]) -> dict[str, str]:
    """The settings that a restored copy must not undercut."""
    settings = environment.get("settings") or {}
    return {name: str(settings[name]) for name in RECOVERY_SETTINGS if name in settings}
