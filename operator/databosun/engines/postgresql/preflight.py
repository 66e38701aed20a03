"""What is missing for a backup, found before one is tried: each grant and setting with the statement that mends it."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing

from psycopg import sql

from databosun.api.result import Finding
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.domain.errors import DatabosunError, UserFault
from databosun.engines.postgresql.connect import Session, open_replication
from databosun.engines.postgresql.incremental import FIRST_MAJOR
from databosun.engines.postgresql.preflight_data import examine_databases
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.server import ServerFacts

_PHYSICAL = [Method.PHYSICAL.value]
_LOGICAL = [Method.LOGICAL.value]


def examine(session: Session, facts: ServerFacts, methods: Collection[Method], *, incremental: bool) -> list[Finding]:
    """Findings for these methods (Auto: both), blocking ones first."""
    wanted = {Method.PHYSICAL, Method.LOGICAL} if Method.AUTO in methods else set(methods)
    findings: list[Finding] = []
    if Method.PHYSICAL in wanted:
        findings += physical_settings(facts) or _replication_login(session)
        findings += _environment_hidden(facts)
        if incremental:
            findings += incremental_settings(facts)
    if Method.LOGICAL in wanted:
        findings += examine_databases(session, facts)
    return sorted(findings, key=lambda finding: not finding.blocks)


def physical_settings(facts: ServerFacts) -> list[Finding]:
    """What the server's own answers rule out."""
    findings = []
    if not facts.role.replication:
        role = sql.Identifier(facts.role.name).as_string()
        findings.append(
            Finding(
                reason=Reason.NO_REPLICATION_PRIVILEGE,
                message=f"role {facts.role.name} lacks the attribute REPLICATION, which physical backups need",
                fix=f"ALTER ROLE {role} REPLICATION;",
                blocks=_PHYSICAL,
            )
        )
    if facts.settings.get("wal_level") == "minimal":
        findings.append(
            Finding(
                reason=Reason.WAL_LEVEL_MINIMAL,
                message="wal_level is minimal; expected replica or logical",
                fix="ALTER SYSTEM SET wal_level = 'replica'; -- then restart the server",
                blocks=_PHYSICAL,
            )
        )
    needed = 1 if facts.major >= 15 else 2
    if int(facts.settings.get("max_wal_senders", needed)) < needed:
        found = facts.settings["max_wal_senders"]
        findings.append(
            Finding(
                reason=Reason.NO_WAL_SENDER,
                message=f"max_wal_senders is {found}; a physical backup of PostgreSQL {facts.major} needs {needed}",
                fix="ALTER SYSTEM SET max_wal_senders = 10; -- then restart the server",
                blocks=_PHYSICAL,
            )
        )
    return findings


def _replication_login(session: Session) -> list[Finding]:
    """Only a login shows what pg_hba.conf says about replication."""
    try:
        with closing(open_replication(session)):
            return []
    except DatabosunError as fault:
        fix = _hba_fix(session) if fault.reason == Reason.NO_PG_HBA_ENTRY else None
        # What failed for want of a free slot or of a network says nothing about grants; the backup tries again.
        blocks = _PHYSICAL if isinstance(fault, UserFault) else []
        return [Finding(reason=fault.reason, message=fault.message, fix=fix, blocks=blocks)]


def _hba_fix(session: Session) -> str:
    kind = "host" if session.target.database.tls.value == "Disable" else "hostssl"
    user = sql.Identifier(session.user).as_string()
    return (
        f"add `{kind} replication {user} <network of the Jobs> scram-sha-256` to pg_hba.conf, then SELECT "
        "pg_reload_conf();"
    )


def _environment_hidden(facts: ServerFacts) -> list[Finding]:
    if "shared_preload_libraries" in facts.settings:
        return []
    role = sql.Identifier(facts.role.name).as_string()
    return [
        Finding(
            reason=Reason.SETTINGS_HIDDEN,
            message="shared_preload_libraries is hidden from the backup role, so backups cannot say what a copy needs",
            fix=f"GRANT pg_read_all_settings TO {role};",
        )
    ]


def incremental_settings(facts: ServerFacts) -> list[Finding]:
    """Why an Incremental would become a Full; a warning, nothing is blocked."""
    if facts.major < FIRST_MAJOR:
        message = (
            f"PostgreSQL {facts.major} has no incremental backups (PostgreSQL {FIRST_MAJOR} was the first): each "
            "becomes a Full"
        )
        return [Finding(reason=Reason.INCREMENTAL_UNSUPPORTED, message=message)]
    if facts.settings.get("summarize_wal") != "on":
        return [
            Finding(
                reason=Reason.SUMMARIZE_WAL_OFF,
                message="summarize_wal is off, so each Incremental becomes a Full",
                fix="ALTER SYSTEM SET summarize_wal = on; SELECT pg_reload_conf();",
            )
        ]
    return []
