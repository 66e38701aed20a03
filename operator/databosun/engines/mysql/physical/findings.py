"""What is missing for a physical backup, found before one is tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pymysql.connections import Connection

from databosun.api.result import Finding
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.engines.mysql.connect import Session, rows
from databosun.engines.mysql.dialect import dialect_of
from databosun.engines.mysql.grants import Grants, grant_statement
from databosun.engines.mysql.physical.directory import directory_findings, directory_of
from databosun.engines.mysql.physical.program import backup_program
from databosun.engines.mysql.server import SYSTEM_SCHEMAS, ServerFacts

_PHYSICAL = [Method.PHYSICAL.value]
# Its redo log says at fixed places where it is, so that a directory is told from another server's.
FIRST_SERIES = (10, 8)
# Seen on 10.11.19: without one of them it stops at once, or, of BINLOG MONITOR, in the end. SELECT: which tables there
# are, and which server it is.
PRIVILEGES = ("RELOAD", "PROCESS", "BINLOG MONITOR", "SELECT")
# What the program copies and a copy of ours can read.
_ENGINES = ("InnoDB", "Aria", "MyISAM", "MRG_MyISAM", "CSV", "ARCHIVE", "MEMORY", "SEQUENCE")
_FOREIGN_TABLES = """
SELECT CONCAT(t.TABLE_SCHEMA, '.', t.TABLE_NAME, ' (', t.ENGINE, ')') FROM information_schema.TABLES AS t
WHERE t.TABLE_SCHEMA NOT IN %s AND t.TABLE_TYPE <> 'VIEW' AND t.ENGINE NOT IN %s ORDER BY 1 LIMIT 4
"""
_LINKED_TABLES = """
SELECT CONCAT(t.TABLE_SCHEMA, '.', t.TABLE_NAME) FROM information_schema.TABLES AS t
WHERE t.TABLE_SCHEMA NOT IN %s AND UPPER(t.CREATE_OPTIONS) LIKE '%%DIRECTORY%%' ORDER BY 1 LIMIT 4
"""
_LINKED_INNODB = (
    "SELECT s.NAME FROM information_schema.INNODB_SYS_TABLESPACES AS s WHERE s.FILENAME NOT LIKE './%%' LIMIT 4"
)
_ENCRYPTION = """
SELECT p.PLUGIN_NAME FROM information_schema.PLUGINS AS p
WHERE p.PLUGIN_TYPE = 'ENCRYPTION' AND p.PLUGIN_STATUS = 'ACTIVE'
"""
# In the data directory themselves, each.
_FOLDERS = ("innodb_data_home_dir", "innodb_log_group_home_dir", "innodb_undo_directory", "aria_log_dir_path")


def unsupported(database: DatabaseTarget) -> Finding:
    """Of a database whose data directory no Job has; why, and what to do."""
    dialect = dialect_of(database.engine)
    if (problem := database.data_problem) is not None:
        return Finding(reason=problem.reason, message=problem.message, blocks=_PHYSICAL)
    if not dialect.copies_files:
        message = (
            f"this release takes no physical backups of {dialect.name}, which read the data directory itself; use "
            "Logical (or Auto), with Incremental backups of the binary log"
        )
        return Finding(reason=Reason.UNSUPPORTED_METHOD, message=message, fix="set method to Logical", blocks=_PHYSICAL)
    message = (
        "a physical backup reads the data directory itself, and spec.dataVolume does not say which claim holds it; use "
        "Logical (or Auto), with Incremental backups of the binary log"
    )
    fix = "set method to Logical, or name the claim in Database.spec.dataVolume.claimName"
    return Finding(reason=Reason.UNSUPPORTED_METHOD, message=message, fix=fix, blocks=_PHYSICAL)


def physical_findings(
    session: Session, connection: Connection[Any], facts: ServerFacts, grants: Grants, mount: Path
) -> list[Finding]:
    """All that stands in its way at the server; where nothing does, in its directory."""
    found = [*_of_the_server(session, facts), *_grants(facts, grants)]
    found = found or [*_tables(connection), *_places(facts)]
    return found or directory_findings(connection, facts, mount)


def _of_the_server(session: Session, facts: ServerFacts) -> list[Finding]:
    found = []
    if facts.series < FIRST_SERIES:
        message = f"{facts.host} runs MariaDB {facts.version}; physical backups are taken from 10.8 on"
        found.append(Finding(reason=Reason.UNSUPPORTED_VERSION, message=message, blocks=_PHYSICAL))
    if len(session.target.database.hosts) > 1:
        message = "spec.connection.hosts names several servers, and the claim of spec.dataVolume is that of one"
        fix = "name the server whose claim it is in spec.connection.host"
        found.append(Finding(reason=Reason.UNSUPPORTED_METHOD, message=message, fix=fix, blocks=_PHYSICAL))
    if facts.settings.get("wsrep_on") in ("1", "ON"):
        message = f"{facts.host} is a node of Galera, of which this release takes no physical backups"
        found.append(Finding(reason=Reason.UNSUPPORTED_METHOD, message=message, blocks=_PHYSICAL))
    try:
        backup_program(session.dialect, facts.series)
    except UserFault as fault:
        found.append(Finding(reason=fault.reason, message=fault.message, blocks=_PHYSICAL))
    return found


def _grants(facts: ServerFacts, grants: Grants) -> list[Finding]:
    missing = [name for name in PRIVILEGES if not grants.has(name)]
    if not missing:
        return []
    message = f"{facts.user} lacks {', '.join(missing)} on *.*, which physical backups need"
    fix = grant_statement(missing, facts.user)
    return [Finding(reason=Reason.PERMISSION_DENIED, message=message, fix=fix, blocks=_PHYSICAL)]


def _tables(connection: Connection[Any]) -> list[Finding]:
    found = []
    if keys := rows(connection, _ENCRYPTION):
        message = (
            f"the server encrypts its files by {keys[0][0]}: a copy of them is worth nothing without its keys, which "
            "no backup of this release holds; a Logical backup does without, and is encrypted by age"
        )
        found.append(Finding(reason=Reason.ENCRYPTED_AT_REST, message=message, blocks=_PHYSICAL))
    if foreign := rows(connection, _FOREIGN_TABLES, (SYSTEM_SCHEMAS, _ENGINES)):
        message = f"{_named(foreign)}: mariadb-backup does not copy tables of that engine, or not all of their data"
        found.append(Finding(reason=Reason.STORAGE_ENGINE_UNSUPPORTED, message=message, blocks=_PHYSICAL))
    if linked := (rows(connection, _LINKED_INNODB) or rows(connection, _LINKED_TABLES, (SYSTEM_SCHEMAS,))):
        message = f"{_named(linked)} has its data outside of the data directory (DATA DIRECTORY): the claim lacks it"
        found.append(Finding(reason=Reason.STORAGE_ENGINE_UNSUPPORTED, message=message, blocks=_PHYSICAL))
    return found


def _places(facts: ServerFacts) -> list[Finding]:
    """Files that the claim does not hold would be missing in the pod."""
    data = directory_of(facts)
    for name in _FOLDERS:
        where = Path(facts.settings.get(name) or ".")
        if (data / where) != data and (data / where).resolve() != data.resolve():
            message = f"{name} is {where}, and the data directory is {data}: both must be one for a physical backup"
            return [Finding(reason=Reason.UNSUPPORTED_METHOD, message=message, blocks=_PHYSICAL)]
    if "/" in facts.settings.get("innodb_data_file_path", ""):
        message = f"innodb_data_file_path is {facts.settings['innodb_data_file_path']}: files elsewhere are not copied"
        return [Finding(reason=Reason.UNSUPPORTED_METHOD, message=message, blocks=_PHYSICAL)]
    return []


def _named(found: list[tuple[Any, ...]]) -> str:
    return ", ".join(str(row[0]) for row in found[:3]) + (" and more" if len(found) > 3 else "")
