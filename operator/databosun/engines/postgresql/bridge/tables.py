"""Chosen tables: restored into a schema of their own in the live database, then moved into place in one transaction.

A table that is gone comes back under its own name. One that is there is put aside where that was asked for; else its
restored form stays beside it, in the schema `<schema>_restore_<id>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import errors, sql

from databosun.api.drill import Level
from databosun.api.result import PlacedResult
from databosun.domain.errors import UserFault
from databosun.engines.bridging import BridgeOrder, Found, StagedCopy, Standing
from databosun.engines.postgresql.bridge.comparing import compare
from databosun.engines.postgresql.bridge.live import demand_swappable, fates_of, lock_tables, swap
from databosun.engines.postgresql.bridge.marker import Marker, read_marker
from databosun.engines.postgresql.bridge.names import before_name, staged_name, staged_suffix
from databosun.engines.postgresql.bridge.reshape import Chosen, Fate, choose_tables, reshape
from databosun.engines.postgresql.bridge.roles import demand_roles, make_roles, roles_of
from databosun.engines.postgresql.bridge.server import Server
from databosun.engines.postgresql.bridge.transfer import transfer
from databosun.engines.postgresql.connect import Connection, prepare_session
from databosun.engines.postgresql.fingerprint import quote
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.recovery.copy import RunningCopy

_SCHEMAS = """
SELECT n.nspname::text, pg_catalog.obj_description(n.oid, 'pg_namespace') FROM pg_catalog.pg_namespace AS n ORDER BY 1
"""
_UNVALIDATED = """
SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname), k.conname::text
FROM pg_catalog.pg_constraint AS k JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND NOT k.convalidated AND k.conparentid = 0 AND n.nspname = ANY(%s) ORDER BY 1, 2
"""
_CONTENT = """
SELECT c.relname::text, c.relkind::text FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'S') ORDER BY 1
"""


def look_for_tables(server: Server, dbname: str, uid: str) -> Found:
    """What an earlier attempt left in the live database."""
    if dbname not in server.databases():
        return Found(Standing.NOTHING)
    with server.open(dbname) as connection:
        staged = _staging_schemas(connection, uid)
    markers = [read_marker(comment) for comment in staged.values()]
    sealed = [marker for marker in markers if marker is not None and marker.uid == uid and marker.story]
    if sealed and any(marker.moved for marker in sealed):
        story = sealed[0].story
        return Found(Standing.PLACED, tuple(PlacedResult(**one) for one in story["placed"]), story)
    if sealed and len(sealed) == len(staged):
        story = sealed[0].story
        return Found(Standing.STAGED, tuple(PlacedResult(**one) for one in story["placed"]), story)
    return Found(Standing.UNFINISHED if staged else Standing.NOTHING)


def demand_database(server: Server, dbname: str) -> None:
    """UserFault where the tables have no database to go to, or the role may make no schema in it."""
    if dbname not in server.databases():
        message = (
            f"{server.session.endpoint} has no database {dbname} for the tables to go to; restore the whole database "
            "(leave selection.tables out), or create it"
        )
        raise UserFault(Reason.NO_SUCH_DATABASE, message)
    with server.open(dbname) as connection:
        row = connection.execute("SELECT pg_catalog.has_database_privilege(%s, 'CREATE')", (dbname,)).fetchone()
    if not row or not row[0]:
        grant = sql.SQL("GRANT CREATE ON DATABASE {} TO {};").format(
            sql.Identifier(dbname), sql.Identifier(server.role.name)
        )
        message = f"role {server.role.name} may not make a schema in database {dbname}; run: {grant.as_string()}"
        raise UserFault(Reason.PERMISSION_DENIED, message)


def stage_tables(server: Server, order: BridgeOrder, copy: RunningCopy, dbname: str, level: Level) -> StagedCopy:
    """Bring them into schemas of their own. The caller discards these where this raises."""
    demand_database(server, dbname)
    with copy.server.connect(dbname, read_only=False) as connection:
        chosen = choose_tables(connection, order.tables, dbname)
        with server.open(dbname) as live:
            _demand_schemas(live, chosen, dbname)
            fates_of(live, order, chosen)
        missing = demand_roles(server, roles_of(copy.server, [dbname], whole=False))
        notes = list(reshape(connection, chosen, order.uid, order.run))
    notes += make_roles(server, missing, Marker(order.uid, order.run, ""))
    schemas = sorted({staged_name(schema, order.uid) for one in chosen for _, schema, _ in one.parts})
    order.progress(f"restore {len(chosen)} tables", 0, None)
    transfer(
        copy.server,
        copy.major,
        server,
        dbname,
        dbname,
        dump=["--strict-names", *(f"--schema={_pattern(schema)}" for schema in schemas)],
        restore=["--no-tablespaces"],
        doing=f"restoring {len(chosen)} tables into {', '.join(schemas)} of database {dbname}",
        pulse=order.pulse,
        progress=lambda: order.progress(f"restore {len(chosen)} tables", 0, None),
    )
    order.progress(f"verify {len(chosen)} tables", 0, None)
    with copy.server.connect(dbname) as there, server.open(dbname) as here:
        prepare_session(there)
        result, _ = compare(there, here, order.pulse, name=f"tables of {dbname}", level=level, schemas=schemas)
        notes += _validate(here, schemas)
        placed = [_result(here, one, dbname, order.uid) for one in chosen]
        for one in chosen:
            staged = sql.Identifier(staged_name(one.schema, order.uid), one.name)
            here.execute(sql.SQL("ANALYZE {}").format(staged))
    return StagedCopy(tuple(placed), (result,), tuple(notes))


def seal_tables(server: Server, order: BridgeOrder, dbname: str, story: Mapping[str, Any], *, moved: bool) -> None:
    """Mark the schemas."""
    with server.open(dbname) as connection, connection.transaction():
        _mark(connection, order, story, moved=moved)


def place_tables(server: Server, order: BridgeOrder, dbname: str, story: Mapping[str, Any]) -> tuple[PlacedResult, ...]:
    """Move them, all in one transaction; those that stay beside what is there are moved already."""
    placed = [PlacedResult(**one) for one in story["placed"]]
    with server.open(dbname) as connection, connection.transaction():
        schemas = _staging_schemas(connection, order.uid).items()
        originals = {name: mark.name for name, text in schemas if (mark := read_marker(text)) is not None}
        aside = [one.table for one in placed if one.table is not None and one.before is not None]
        lock_tables(connection, aside)
        demand_swappable(connection, aside)
        for one in placed:
            if one.table is not None and one.at == one.table:
                swap(connection, order, one.table, originals, aside=one.before is not None)
        _mark(connection, order, story, moved=True)
    return tuple(placed)


def settle_tables(server: Server, uid: str, dbname: str) -> None:
    """Drop the schemas that are empty by now; leave the others without a mark."""
    if dbname not in server.databases():
        return
    with server.open(dbname) as connection:
        for schema in _staging_schemas(connection, uid):
            if _content(connection, schema):
                text = "restored by Databosun beside what is there; drop it once it is not needed any more"
                comment = sql.SQL("COMMENT ON SCHEMA {} IS {}")
                connection.execute(comment.format(sql.Identifier(schema), sql.Literal(text)))
            else:
                connection.execute(sql.SQL("DROP SCHEMA {} RESTRICT").format(sql.Identifier(schema)))


def discard_tables(server: Server, uid: str, dbname: str) -> tuple[str, ...]:
    """Drop what is staged and nothing that somebody made of it since. UserFault where that stands in the way."""
    if dbname not in server.databases():
        return ()
    gone = []
    with server.open(dbname) as connection:
        for schema in _staging_schemas(connection, uid):
            content = _content(connection, schema)
            tables = [sql.Identifier(schema, name) for name, kind in content if kind != "S"]
            try:
                with connection.transaction():
                    if tables:
                        connection.execute(sql.SQL("DROP TABLE {}").format(sql.SQL(", ").join(tables)))
                    for name in (name for name, kind in _content(connection, schema) if kind == "S"):
                        connection.execute(sql.SQL("DROP SEQUENCE {}").format(sql.Identifier(schema, name)))
                    connection.execute(sql.SQL("DROP SCHEMA {} RESTRICT").format(sql.Identifier(schema)))
            except errors.DependentObjectsStillExist as error:
                message = (
                    f"schema {schema} of database {dbname} was not dropped: {error.diag.message_detail}; drop what "
                    "depends on it, then the schema"
                )
                raise UserFault(Reason.TARGET_NOT_EMPTY, message) from error
            gone.append(f"schema {schema} of database {dbname}")
    return tuple(gone)


def _validate(here: Connection, schemas: Sequence[str]) -> list[str]:
    """Have foreign keys checked against what is there; those that do not hold stay NOT VALID, and are named."""
    notes = []
    for table, name in here.execute(_UNVALIDATED, (list(schemas),)).fetchall():
        alter = sql.SQL("ALTER TABLE {} VALIDATE CONSTRAINT {}").format(sql.SQL(str(table)), sql.Identifier(str(name)))
        try:
            here.execute(alter)
        except (errors.ForeignKeyViolation, errors.FeatureNotSupported) as error:
            detail = error.diag.message_detail or error.diag.message_primary
            notes.append(
                f"foreign key {name} does not hold and was left NOT VALID (new rows are checked): {detail}; mend the "
                f"rows, then ALTER TABLE … VALIDATE CONSTRAINT {quote(str(name))}"
            )
    return notes


def _result(here: Connection, one: Chosen, dbname: str, uid: str) -> PlacedResult:
    staged = sql.Identifier(staged_name(one.schema, uid), one.name)
    row = here.execute(sql.SQL("SELECT count(*) FROM {}").format(staged)).fetchone()
    beside = one.fate is Fate.BESIDE
    return PlacedResult(
        database=dbname,
        table=one.full_name,
        at=f"{quote(staged_name(one.schema, uid))}.{quote(one.name)}" if beside else one.full_name,
        before=f"{quote(before_name(one.schema, uid))}.{quote(one.name)}" if one.fate is Fate.SWAP else None,
        rows=int(str(row[0])) if row else None,
    )


def _demand_schemas(live: Connection, chosen: Sequence[Chosen], dbname: str) -> None:
    there = {str(row[0]) for row in live.execute(_SCHEMAS).fetchall()}
    missing = sorted({one.schema for one in chosen} - there)
    if missing:
        message = (
            f"database {dbname} at the target has no schema {', '.join(missing)}, so its types and functions may be "
            "gone too; restore the whole database, or create the schema"
        )
        raise UserFault(Reason.NO_SUCH_SCHEMA, message)


def _staging_schemas(connection: Connection, uid: str) -> dict[str, str | None]:
    suffix = staged_suffix(uid)
    rows = connection.execute(_SCHEMAS).fetchall()
    return {str(name): str(text) if text is not None else None for name, text in rows if str(name).endswith(suffix)}


def _mark(connection: Connection, order: BridgeOrder, story: Mapping[str, Any], *, moved: bool) -> None:
    for schema, text in _staging_schemas(connection, order.uid).items():
        known = read_marker(text)
        name = known.name if known else schema
        marker = Marker(order.uid, order.run, name, moved=moved, story=story)
        comment = sql.SQL("COMMENT ON SCHEMA {} IS {}")
        connection.execute(comment.format(sql.Identifier(schema), sql.Literal(marker.text())))


def _content(connection: Connection, schema: str) -> list[tuple[str, str]]:
    return [(str(name), str(kind)) for name, kind in connection.execute(_CONTENT, (schema,)).fetchall()]


def _pattern(schema: str) -> str:
    """As pg_dump takes a name that is no pattern."""
    return '"' + schema.replace('"', '""') + '"'
