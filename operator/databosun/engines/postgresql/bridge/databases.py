"""Whole databases: each is restored under another name, and all of them are renamed into place in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from psycopg import sql

from databosun.api.drill import Check, CheckResult, Level
from databosun.api.result import PlacedResult
from databosun.domain.errors import DatabosunError, UserFault
from databosun.engines.bridging import BridgeOrder, Found, StagedCopy, Standing
from databosun.engines.postgresql.bridge.checking import check_staged
from databosun.engines.postgresql.bridge.comparing import compare
from databosun.engines.postgresql.bridge.marker import Marker
from databosun.engines.postgresql.bridge.names import before_name, staged_name, staged_suffix
from databosun.engines.postgresql.bridge.roles import demand_roles, make_roles, roles_of
from databosun.engines.postgresql.bridge.server import Database, Server, is_empty
from databosun.engines.postgresql.bridge.switch import Rename, rename_all
from databosun.engines.postgresql.bridge.transfer import transfer
from databosun.engines.postgresql.connect import Connection, prepare_session
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.recovery.copy import RunningCopy

_MAINTENANCE = "postgres"
_PREPARED = "SELECT gid::text FROM pg_catalog.pg_prepared_xacts WHERE database = %s ORDER BY 1"
_EXTENSIONS = "SELECT e.extname::text FROM pg_catalog.pg_extension AS e ORDER BY 1"
_AVAILABLE = "SELECT a.name::text FROM pg_catalog.pg_available_extensions AS a"
_TABLESPACES = """
SELECT t.spcname::text FROM pg_catalog.pg_tablespace AS t WHERE t.spcname NOT IN ('pg_default', 'pg_global')
"""
_SIZE = "SELECT pg_catalog.pg_database_size(d.oid) FROM pg_catalog.pg_database AS d WHERE d.datname = %s"


def wanted_databases(order: BridgeOrder, manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """The databases to restore. UserFault(NoSuchDatabase) where the backup has none of that name."""
    held = [
        str(one["name"])
        for one in (manifest.get("environment") or {}).get("databases") or ()
        if (one.get("folder") if manifest.get("method") == "Logical" else one.get("connectable"))
        and not one.get("template")
    ]
    # A database may be younger than a physical backup, and still lie before the point that is asked for.
    missing = [name for name in order.databases if name not in held] if manifest.get("method") == "Logical" else []
    if missing or not held:
        message = (
            f"backup {manifest['id']} holds no database {', '.join(missing)}; it holds {', '.join(held) or 'none'}"
        )
        raise UserFault(Reason.NO_SUCH_DATABASE, message)
    return tuple(order.databases) or tuple(held)


def look_for_databases(server: Server, uid: str) -> Found:
    """What an earlier attempt left: databases of the staging names, or such that are in place already."""
    suffix, there = staged_suffix(uid), server.databases()
    staged = [one for one in there.values() if one.name.endswith(suffix)]
    moved = {name: one.marker for name, one in there.items() if one not in staged and _ours(one, uid)}
    if moved:
        story = next(iter(moved.values())).story  # type: ignore[union-attr]  # _ours saw one
        return Found(Standing.PLACED, _placed(story, there, uid), story)
    sealed = [one.marker for one in staged if one.marker is not None and _ours(one, uid) and one.marker.story]
    if sealed:
        story = sealed[0].story
        names = {str(one["at"]) for one in story["placed"]}
        if names == {one.name for one in staged} and len(sealed) == len(names):
            return Found(Standing.STAGED, tuple(PlacedResult(**one) for one in story["placed"]), story)
    return Found(Standing.UNFINISHED if staged else Standing.NOTHING)


def demand_places(server: Server, order: BridgeOrder, names: Sequence[str]) -> None:
    """UserFault(TargetNotEmpty, PermissionDenied, PreparedTransactions) where what is there may not be put aside."""
    there, role = server.databases(), server.role
    for name in names:
        known = there.get(name)
        if known is None:
            continue
        if not order.replace and not (known.connectable and server.empty(name)):
            message = (
                f"{server.session.endpoint} has a database {name} already, and it is not empty; it is put aside as "
                f"{before_name(name, order.uid)} with overwrite: Replace and confirm, or restore into another server"
            )
            raise UserFault(Reason.TARGET_NOT_EMPTY, message)
        if not role.superuser and not known.owned:
            grant = sql.SQL("GRANT {} TO {};").format(sql.Identifier(known.owner), sql.Identifier(role.name))
            message = (
                f"role {role.name} may not rename database {name} of {known.owner} at {server.session.endpoint}; run: "
                f"{grant.as_string()}"
            )
            raise UserFault(Reason.PERMISSION_DENIED, message)
        with server.open() as connection:
            prepared = [str(row[0]) for row in connection.execute(_PREPARED, (name,)).fetchall()]
        if prepared:
            message = (
                f"database {name} holds prepared transactions ({', '.join(prepared[:5])}), so nobody can rename it; "
                "COMMIT PREPARED or ROLLBACK PREPARED them"
            )
            raise UserFault(Reason.PREPARED_TRANSACTIONS, message)
    if not role.createdb:
        alter = sql.SQL("ALTER ROLE {} CREATEDB;").format(sql.Identifier(role.name))
        message = f"role {role.name} may not create databases at {server.session.endpoint}; run: {alter.as_string()}"
        raise UserFault(Reason.PERMISSION_DENIED, message)
    if not role.signals and any(name in there for name in names):
        signal = sql.SQL("GRANT pg_signal_backend TO {};").format(sql.Identifier(role.name)).as_string()
        message = f"role {role.name} may not end the sessions of a database that is put aside; run: {signal}"
        raise UserFault(Reason.PERMISSION_DENIED, message)


def stage_databases(
    server: Server, order: BridgeOrder, copy: RunningCopy, names: Sequence[str], checks: Sequence[Check], level: Level
) -> StagedCopy:
    """Bring them there. The caller discards what is there where this raises."""
    whole = not order.databases
    notes: list[str] = []
    if whole and _MAINTENANCE in names and _nothing_in(copy, _MAINTENANCE) and len(names) > 1:
        names = [name for name in names if name != _MAINTENANCE]
        notes.append(f"database {_MAINTENANCE} of the backup is empty and was left out")
    demand_places(server, order, names)
    _demand_extensions(server, copy, names)
    missing = demand_roles(server, roles_of(copy.server, names, whole=whole))
    keep_spaces = _spaces(server, copy, notes)
    notes += make_roles(server, missing, Marker(order.uid, order.run, ""))
    placed, found = [], []
    for name in names:
        rows, result = _bring(server, order, copy, name, level, keep_spaces=keep_spaces)
        placed.append(PlacedResult(database=name, at=staged_name(name, order.uid), rows=rows))
        found.append(result)
    aliases = {one.database: one.at for one in placed}
    found += check_staged(server, copy, aliases, checks, order.pulse)
    return StagedCopy(tuple(placed), tuple(found), tuple(notes))


def seal_databases(server: Server, order: BridgeOrder, story: Mapping[str, Any]) -> None:
    """Mark all of them, at once."""
    there = server.databases()
    with server.open() as connection, connection.transaction():
        for one in story["placed"]:
            known = there[str(one["at"])]
            marker = Marker(order.uid, order.run, str(one["database"]), known.comment, story=story)
            _comment(connection, known.name, marker.text())


def place_databases(server: Server, order: BridgeOrder, placed: Sequence[PlacedResult]) -> tuple[PlacedResult, ...]:
    """Rename them, all in one transaction. What is there under those names is looked at again first."""
    demand_places(server, order, [one.database for one in placed])
    there = server.databases()
    renames: list[Rename] = []
    for one in placed:
        if one.database in there:
            renames.append(Rename(there[one.database].oid, one.database, before_name(one.database, order.uid)))
        renames.append(Rename(there[one.at].oid, one.at, one.database))
    rename_all(server, renames, order.pulse)
    now = server.databases()
    return _placed({"placed": [one.dump() for one in placed]}, now, order.uid)


def settle_databases(server: Server, uid: str) -> None:
    """Give each the comment that the original has."""
    ours = [one for one in server.databases().values() if _ours(one, uid)]
    if ours:
        with server.open() as connection, connection.transaction():
            for one in ours:
                _comment(connection, one.name, one.marker.comment if one.marker else None)


def discard_databases(server: Server, uid: str) -> tuple[str, ...]:
    """Drop what is staged. What has been put in place bears another name and is left alone."""
    gone = []
    for name in (one.name for one in server.databases().values() if one.name.endswith(staged_suffix(uid))):
        with server.open() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        gone.append(f"database {name}")
    return tuple(gone)


def _bring(
    server: Server, order: BridgeOrder, copy: RunningCopy, name: str, level: Level, *, keep_spaces: bool
) -> tuple[int, CheckResult]:
    """One database: renamed in the copy, so that its dump bears the name that it gets first."""
    staged = staged_name(name, order.uid)
    with copy.server.connect("template1", read_only=False) as connection:
        connection.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(staged))
        )
        row = connection.execute(_SIZE, (staged,)).fetchone()
    total = int(str(row[0])) if row else None
    order.progress(f"restore {name}", 0, total)

    def progress() -> None:
        with suppress(DatabosunError), server.open() as connection:  # a figure for people, nothing depends on it
            size = connection.execute(_SIZE, (staged,)).fetchone()
            order.progress(f"restore {name}", int(str(size[0])) if size else 0, total)

    doing = f"restoring database {name} as {staged} at {server.session.endpoint}"
    transfer(
        copy.server,
        copy.major,
        server,
        staged,
        server.hall,
        dump=[],
        restore=["--create", *([] if keep_spaces else ["--no-tablespaces"])],
        doing=doing,
        pulse=order.pulse,
        progress=progress,
    )
    order.progress(f"verify {name}", total or 0, total)
    with copy.server.connect(staged) as there, server.open(staged) as here:
        prepare_session(there)
        same = server.facts.major == copy.major
        result, rows = compare(there, here, order.pulse, name=name, level=level, defined=same)
        order.pulse()
        here.execute("ANALYZE")
    return rows, result


def _demand_extensions(server: Server, copy: RunningCopy, names: Sequence[str]) -> None:
    """UserFault(ExtensionMissing) before anything is made."""
    with server.open() as connection:
        available = {str(row[0]) for row in connection.execute(_AVAILABLE).fetchall()}
    missing: dict[str, str] = {}
    for name in names:
        with copy.server.connect(name) as connection:
            for (extension,) in connection.execute(_EXTENSIONS).fetchall():
                if str(extension) not in available:
                    missing[str(extension)] = f"{extension} (of database {name})"
    if missing:
        message = (
            f"{server.session.endpoint} has no files of extension {', '.join(missing.values())}; install them there"
        )
        raise UserFault(Reason.EXTENSION_MISSING, message)


def _spaces(server: Server, copy: RunningCopy, notes: list[str]) -> bool:
    """Whether the target has all tablespaces that the copy has."""
    with server.open() as connection:
        there = {str(row[0]) for row in connection.execute(_TABLESPACES).fetchall()}
    with copy.server.connect("template1") as connection:
        missing = {str(row[0]) for row in connection.execute(_TABLESPACES).fetchall()} - there
    if missing:
        notes.append(f"the target has no tablespace {', '.join(sorted(missing))}: everything went into the default one")
    return not missing


def _nothing_in(copy: RunningCopy, name: str) -> bool:
    with copy.server.connect(name) as connection:
        return is_empty(connection)


def _placed(story: Mapping[str, Any], there: Mapping[str, Database], uid: str) -> tuple[PlacedResult, ...]:
    found = []
    for one in story.get("placed", ()):
        name, before = str(one["database"]), before_name(str(one["database"]), uid)
        found.append(PlacedResult(**{**one, "at": name, "before": before if before in there else None}))
    return tuple(found)


def _ours(one: Database, uid: str) -> bool:
    return one.marker is not None and one.marker.uid == uid


def _comment(connection: Connection, name: str, text: str | None) -> None:
    statement = sql.SQL("COMMENT ON DATABASE {} IS {}")
    connection.execute(statement.format(sql.Identifier(name), sql.Literal(text)))
