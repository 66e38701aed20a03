"""What pg_dump will not be able to read, database by database: refused with the grant, never left out of a dump."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from databosun.api.result import Finding
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.domain.errors import DatabosunError, UserFault
from databosun.engines.postgresql.connect import Connection, Session, open_sql
from databosun.engines.postgresql.faults import guarded
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.server import ServerFacts

_BLOCKS = [Method.LOGICAL.value]
_SHOWN = 3

# pg_dump locks and reads these: tables, partitioned tables, sequences. Extension members are recreated, not dumped.
_UNREADABLE = """
SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname)
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                  AND d.objid = c.oid AND d.deptype = 'e')
  AND NOT (pg_catalog.has_schema_privilege(n.oid, 'USAGE')
           AND CASE c.relkind WHEN 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
                              ELSE pg_catalog.has_table_privilege(c.oid, 'SELECT') END)
ORDER BY 1
"""

_ROW_SECURITY = """
SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname)
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relrowsecurity AND (c.relforcerowsecurity OR NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')) ORDER BY 1
"""

# 14 to 17 have no has_largeobject_privilege(); ownership or an entry in the access list is what the server asks for.
_LARGE_OBJECTS = """
SELECT m.oid::text FROM pg_catalog.pg_largeobject_metadata AS m
WHERE pg_catalog.current_setting('lo_compat_privileges') <> 'on' AND NOT pg_catalog.pg_has_role(m.lomowner, 'USAGE')
  AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(m.lomacl) AS a
                  WHERE a.privilege_type = 'SELECT' AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))
ORDER BY m.oid
"""

# From 18 on the server says it itself.
_LARGE_OBJECTS_18 = """
SELECT m.oid::text FROM pg_catalog.pg_largeobject_metadata AS m
WHERE pg_catalog.current_setting('lo_compat_privileges') <> 'on'
  AND NOT pg_catalog.has_largeobject_privilege(m.oid, 'SELECT') ORDER BY m.oid
"""

_SUBSCRIPTIONS = """
SELECT s.subname::text FROM pg_catalog.pg_subscription AS s
WHERE s.subdbid = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
ORDER BY 1
"""


def examine_databases(session: Session, facts: ServerFacts) -> list[Finding]:
    """Look into each database that a logical backup would dump."""
    only = session.target.database.database
    names = [only] if only else [database.name for database in facts.dumpable()]
    findings: list[Finding] = []
    for name in names:
        try:
            connection = open_sql(session, name)
        except UserFault as fault:
            findings.append(_no_entry(facts, name, fault))
            continue
        with connection:
            findings += _examine_database(connection, facts, name)
    return findings


def _no_entry(facts: ServerFacts, name: str, fault: DatabosunError) -> Finding:
    fix = None
    if fault.reason == Reason.NO_CONNECT_PRIVILEGE:
        grant = sql.SQL("GRANT CONNECT ON DATABASE {} TO {};").format(
            sql.Identifier(name), sql.Identifier(facts.role.name)
        )
        fix = grant.as_string()
    return Finding(reason=fault.reason, message=fault.message, fix=fix, blocks=_BLOCKS)


def _examine_database(connection: Connection, facts: ServerFacts, name: str) -> list[Finding]:
    findings = []
    role = sql.Identifier(facts.role.name).as_string()
    if not facts.role.superuser:
        unreadable = _names(connection, _UNREADABLE)
        if unreadable:
            message = f"role {facts.role.name} cannot read {_some(unreadable)} in database {name}"
            findings.append(
                Finding(
                    reason=Reason.PERMISSION_DENIED,
                    message=message,
                    fix=f"GRANT pg_read_all_data TO {role};",
                    blocks=_BLOCKS,
                )
            )
        findings += _large_objects(connection, facts, name)
        subscriptions = _names(connection, _SUBSCRIPTIONS)
        if subscriptions:
            message = (
                f"only a superuser can dump subscriptions: {_some(subscriptions)} in database {name} will not be in "
                "logical backups"
            )
            findings.append(Finding(reason=Reason.SUBSCRIPTIONS_NOT_DUMPED, message=message))
    if not facts.role.bypass_rls and (hidden := _names(connection, _ROW_SECURITY)):
        message = f"row-level security hides rows of {_some(hidden)} in database {name} from role {facts.role.name}"
        findings.append(
            Finding(
                reason=Reason.ROW_LEVEL_SECURITY, message=message, fix=f"ALTER ROLE {role} BYPASSRLS;", blocks=_BLOCKS
            )
        )
    return findings


def _large_objects(connection: Connection, facts: ServerFacts, name: str) -> list[Finding]:
    unreadable = _names(connection, _LARGE_OBJECTS_18 if facts.major >= 18 else _LARGE_OBJECTS)
    if not unreadable:
        return []
    role = sql.Identifier(facts.role.name).as_string()
    message = (
        f"role {facts.role.name} cannot read large objects of database {name}: {_some(unreadable)}; pg_read_all_data "
        "does not cover them"
    )
    return [
        Finding(
            reason=Reason.LARGE_OBJECTS_UNREADABLE,
            message=message,
            fix=f"ALTER ROLE {role} SET lo_compat_privileges = on;",
            blocks=_BLOCKS,
        )
    ]


def _names(connection: Connection, query: str) -> list[str]:
    with guarded("reading privileges"):
        return [str(row[0]) for row in connection.execute(query.encode()).fetchall()]


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
