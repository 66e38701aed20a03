"""What is missing for a backup, found before one is tried: each grant and setting with the statement that mends it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from pymysql.connections import Connection

from databosun.api.result import Finding
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.api.v1alpha1.reasons import Reason
from databosun.engines.mysql.connect import Row, Session, opened, quote, rows
from databosun.engines.mysql.dialect import Dialect
from databosun.engines.mysql.faults import guarded
from databosun.engines.mysql.grants import Grants, grant_statement, read_grants
from databosun.engines.mysql.physical.findings import physical_findings, unsupported
from databosun.engines.mysql.server import MAX_LAG, SYSTEM_SCHEMAS, ServerFacts

_LOGICAL = [Method.LOGICAL.value, Method.AUTO.value]
_ANY = [*_LOGICAL, Method.PHYSICAL.value]
_SHOWN = 3

_UNSAFE_TABLES = """
SELECT CONCAT(t.TABLE_SCHEMA, '.', t.TABLE_NAME), t.ENGINE FROM information_schema.TABLES AS t
WHERE t.TABLE_SCHEMA NOT IN %s AND (%s IS NULL OR t.TABLE_SCHEMA = %s)
  AND t.TABLE_TYPE NOT IN ('VIEW', 'SYSTEM VIEW', 'SEQUENCE')
  AND COALESCE(t.ENGINE, '') <> 'InnoDB' ORDER BY 1
"""
_VERSIONED_TABLES = """
SELECT CONCAT(t.TABLE_SCHEMA, '.', t.TABLE_NAME), t.ENGINE FROM information_schema.TABLES AS t
WHERE t.TABLE_SCHEMA NOT IN %s AND (%s IS NULL OR t.TABLE_SCHEMA = %s) AND t.TABLE_TYPE = 'SYSTEM VERSIONED' ORDER BY 1
"""


def examine(
    session: Session, facts: ServerFacts, methods: Collection[Method], *, incremental: bool, consistency: str
) -> list[Finding]:
    """Findings for these methods, blocking ones first. `consistency`: Partial makes a warning of what it allows."""
    database = session.target.database
    findings: list[Finding] = []
    with opened(session) as connection, guarded("reading privileges"):
        grants = read_grants(connection, session.dialect)
        files = database.database is None and (database.data_mount or database.data_problem) is not None
        if Method.PHYSICAL in methods or (Method.AUTO in methods and files):
            findings += _physical(session, connection, facts, grants)
        if Method.LOGICAL in methods or (Method.AUTO in methods and (findings or not files)):
            findings += _dump_grants(session, facts, grants)
            findings += _tables(connection, database.database, consistency)
    findings += _replica(facts, session.dialect)
    if incremental:
        findings += binlog_findings(facts, grants, database.database, session.dialect)
    return sorted(findings, key=lambda finding: not finding.blocks)


def _physical(session: Session, connection: Connection[Any], facts: ServerFacts, grants: Grants) -> list[Finding]:
    mount = session.target.database.data_mount
    if mount is None or not session.dialect.copies_files:
        return [unsupported(session.target.database)]
    return physical_findings(session, connection, facts, grants, Path(mount))


def binlog_findings(facts: ServerFacts, grants: Grants, database: str | None, dialect: Dialect) -> list[Finding]:
    """Why an Incremental would become a Full; warnings, nothing is blocked."""
    if database is not None:
        message = (
            f"connection.database is {database}, and a binary log holds the whole server: each Incremental becomes a "
            "Full"
        )
        return [Finding(reason=Reason.INCREMENTAL_UNSUPPORTED, message=message)]
    if not facts.log_bin:
        message = "log_bin is off, so each Incremental becomes a Full"
        fix = "set log_bin and server_id in the server's configuration, then restart it"
        return [Finding(reason=Reason.BINLOG_OFF, message=message, fix=fix)]
    if not facts.logs_all:
        message = f"{facts.host} is a replica that does not log what it replicates, so each Incremental becomes a Full"
        fix = f"set {facts.logs_replicated} = ON in its configuration, then restart it"
        return [Finding(reason=Reason.BINLOG_OFF, message=message, fix=fix)]
    findings = []
    if facts.settings.get("gtid_mode", "ON") != "ON":
        message = (
            "gtid_mode is not ON, so that nothing says whether the binary log is the one that the parent ends in: each "
            "Incremental becomes a Full"
        )
        fix = "set gtid_mode = ON and enforce_gtid_consistency = ON, at the server and in its configuration"
        findings.append(Finding(reason=Reason.INCREMENTAL_UNSUPPORTED, message=message, fix=fix))
    missing = [name for name in dialect.log_privileges if not grants.has(name)]
    if missing:
        message = f"{facts.user} lacks {', '.join(missing)} for the binary log, so each Incremental becomes a Full"
        fix = grant_statement(missing, facts.user)
        findings.append(Finding(reason=Reason.NO_REPLICATION_PRIVILEGE, message=message, fix=fix))
    if facts.settings.get("binlog_format") == "STATEMENT":
        message = (
            "binlog_format is STATEMENT: statements that give another result each time (NOW(), UUID(), LIMIT without "
            "ORDER BY) are restored with another one by an Incremental"
        )
        fix = "SET GLOBAL binlog_format = 'MIXED'; and the same in the server's configuration"
        findings.append(Finding(reason=Reason.BINLOG_FORMAT, message=message, fix=fix))
    return findings


def _dump_grants(session: Session, facts: ServerFacts, grants: Grants) -> list[Finding]:
    """On `*.*` for the whole server: without it, other schemas would be invisible, and missing without a word."""
    schema = session.target.database.database
    dialect = session.dialect
    missing = [name for name in dialect.privileges if not grants.has(name, schema)]
    findings = []
    alternatives = (*dialect.server_privileges, *(dialect.one_schema if schema else ()))
    if unmet := [one[0] for one in alternatives if not any(grants.has(name) for name in one)]:
        message = f"{facts.user} lacks {', '.join(unmet)} on *.*; {dialect.dump} would fail, or leave things out"
        fix = grant_statement(unmet, facts.user)
        findings.append(Finding(reason=Reason.PERMISSION_DENIED, message=message, fix=fix, blocks=_LOGICAL))
    if missing:
        what = f"schema {schema}" if schema else "the whole server"
        message = f"{facts.user} lacks {', '.join(missing)} on {what}; a dump would be without what they show, or fail"
        fix = grant_statement(missing, facts.user, schema)
        findings.append(Finding(reason=Reason.PERMISSION_DENIED, message=message, fix=fix, blocks=_LOGICAL))
    if schema is not None and facts.system_identifier is None:
        message = f"{facts.user} cannot see the tables of schema mysql, which say which server this is"
        fix = grant_statement(["SELECT"], facts.user, "mysql")
        findings.append(Finding(reason=Reason.PERMISSION_DENIED, message=message, fix=fix, blocks=_LOGICAL))
    if schema is not None and schema not in facts.schemas:
        message = f"{facts.host} has no schema {schema} that {facts.user} can see"
        findings.append(Finding(reason=Reason.NO_SUCH_DATABASE, message=message, blocks=_LOGICAL))
    if schema is None and not facts.schemas:
        message = f"{facts.host} has no schema but its own"
        findings.append(Finding(reason=Reason.NO_DATABASE, message=message, blocks=_LOGICAL))
    return findings


def _tables(connection: Connection[Any], schema: str | None, consistency: str) -> list[Finding]:
    findings = []
    where = (SYSTEM_SCHEMAS, schema, schema)
    if unsafe := rows(connection, _UNSAFE_TABLES, where):
        message = (
            f"{_some(unsafe)} do not follow transactions, so that no dump shows them as of one instant; a backup with "
            "them is taken only where the policy says consistency: Partial"
        )
        fix = "; ".join(f"ALTER TABLE {_full(name)} ENGINE = InnoDB;" for name, _ in unsafe[:_SHOWN])
        blocks = _LOGICAL if consistency == "Strict" else []
        findings.append(Finding(reason=Reason.NOT_TRANSACTIONAL, message=message, fix=fix, blocks=blocks))
    if versioned := rows(connection, _VERSIONED_TABLES, where):
        message = f"{_some(versioned)} are system-versioned: a dump holds their present rows, without the history"
        findings.append(Finding(reason=Reason.HISTORY_NOT_DUMPED, message=message))
    return findings


def _replica(facts: ServerFacts, dialect: Dialect) -> list[Finding]:
    if facts.replica_hidden:
        message = f"{facts.host} is read-only, and how far it lags behind its primary is hidden from {facts.user}"
        fix = grant_statement([dialect.monitor], facts.user)
        if dialect.groups is not None:
            fix += " " + grant_statement(["SELECT"], facts.user, "performance_schema")
        return [Finding(reason=Reason.REPLICA_UNFIT, message=message, fix=fix, blocks=_ANY)]
    if facts.replica is None:
        return []
    if facts.replica.lag is None:
        message = f"{facts.host} is a replica that does not follow its primary: {facts.replica.problem}"
        return [Finding(reason=Reason.REPLICA_UNFIT, message=message, fix=dialect.follow, blocks=_ANY)]
    if facts.replica.lag > MAX_LAG:
        lag, most = facts.replica.lag.total_seconds(), MAX_LAG.total_seconds()
        message = f"{facts.host} lags {lag:.0f} s behind its primary; {most:.0f} s are allowed"
        return [Finding(reason=Reason.REPLICA_UNFIT, message=message, blocks=_ANY)]
    return []


def _some(found: Sequence[Row]) -> str:
    more = len(found) - _SHOWN
    names = ", ".join(f"{name} ({engine or 'no engine'})" for name, engine in found[:_SHOWN])
    return names + (f" and {more} more" if more > 0 else "")


def _full(name: str) -> str:
    schema, _, table = str(name).partition(".")
    return f"{quote(schema)}.{quote(table)}"
