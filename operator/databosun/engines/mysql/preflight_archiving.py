"""What is missing for archiving the binary log: each setting and grant with the statement that mends it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pymysql.connections import Connection

from databosun.api.quantities import format_duration
from databosun.api.result import Finding
from databosun.api.v1alpha1.reasons import Reason
from databosun.engines.archiving import demand_nothing_blocks
from databosun.engines.mysql.connect import Session, open_sql, rows
from databosun.engines.mysql.dialect import Dialect
from databosun.engines.mysql.faults import guarded
from databosun.engines.mysql.grants import grant_statement, read_grants
from databosun.engines.mysql.server import ServerFacts, read_facts

CONTINUOUS = ["Continuous"]
# An archiver that is away for longer than the server keeps its log finds a gap.
SHORTEST_KEPT = timedelta(days=1)


def examine_archiving(session: Session) -> list[Finding]:
    """Findings for the server whose log is shipped."""
    connection = open_sql(session)
    try:
        with guarded("looking at the binary log"):
            facts = read_facts(connection, session)
            return _findings(connection, facts, session.dialect)
    finally:
        connection.close()


def demand_archivable(connection: Connection[Any], facts: ServerFacts, dialect: Dialect) -> None:
    """UserFault with the statement that mends it, where something stands in the way."""
    demand_nothing_blocks(_findings(connection, facts, dialect))


def _findings(connection: Connection[Any], facts: ServerFacts, dialect: Dialect) -> list[Finding]:
    if not facts.log_bin:
        return [_off(f"log_bin is off at {facts.host}", "set log_bin and server_id")]
    if not facts.logs_all:
        what = f"{facts.host} is a replica that does not log what it replicates"
        return [_off(what, f"set {facts.logs_replicated} = ON")]
    grants = read_grants(connection, dialect)
    missing = [name for name in dialect.log_privileges if not grants.has(name)]
    if missing:
        message = f"{facts.user} lacks {', '.join(missing)}, and cannot read the binary log of {facts.host}"
        fix = grant_statement(missing, facts.user)
        return [Finding(reason=Reason.NO_REPLICATION_PRIVILEGE, message=message, fix=fix, blocks=CONTINUOUS)]
    return [*_contents(connection, facts, dialect), *_kept(connection)]


def _contents(connection: Connection[Any], facts: ServerFacts, dialect: Dialect) -> list[Finding]:
    """Whether the log has all that is written, as it was."""
    found = []
    status = rows(connection, dialect.log_status(facts.series))
    only, ignored = status[0][2:4] if status else ("", "")
    if only or ignored:
        what = f"the binary log leaves schemas out (binlog_do_db: {only}; binlog_ignore_db: {ignored})"
        found.append(_off(what, "remove binlog_do_db and binlog_ignore_db"))
    said = facts.settings.get("binlog_format", "")
    if said != "ROW":
        message = (
            f"binlog_format is {said}: statements may be logged as they were sent, and what depends on their moment "
            "is then restored otherwise"
        )
        fix = "SET GLOBAL binlog_format = 'ROW'; -- and the same in the server's configuration"
        blocks = CONTINUOUS if said == "STATEMENT" else []
        found.append(Finding(reason=Reason.BINLOG_FORMAT, message=message, fix=fix, blocks=blocks))
    return found


def _kept(connection: Connection[Any]) -> list[Finding]:
    """How long the server keeps what no archiver was there to read."""
    settings = {str(name): str(value) for name, value in rows(connection, "SHOW GLOBAL VARIABLES LIKE '%expire_logs%'")}
    seconds = float(settings.get("binlog_expire_logs_seconds") or 0)
    kept = timedelta(seconds=seconds) or timedelta(days=float(settings.get("expire_logs_days") or 0))
    if not kept or kept >= SHORTEST_KEPT or settings.get("binlog_expire_logs_auto_purge") == "OFF":
        return []
    message = (
        f"the server removes its binary logs after {format_duration(kept)}: an archiver that is away for longer finds "
        "a gap, and a full backup is taken"
    )
    fix = f"SET GLOBAL binlog_expire_logs_seconds = {int(7 * SHORTEST_KEPT.total_seconds())};"
    return [Finding(reason=Reason.BINLOG_PURGED, message=message, fix=fix)]


def _off(what: str, how: str) -> Finding:
    fix = f"{how} in the server's configuration, then restart it"
    return Finding(reason=Reason.BINLOG_OFF, message=f"{what}, so there is no log to ship", fix=fix, blocks=CONTINUOUS)
