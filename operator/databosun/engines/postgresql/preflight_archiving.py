"""What is missing for archiving the log, found before an archiver is started."""

from __future__ import annotations

from contextlib import closing

from databosun.api.result import Finding
from databosun.domain.errors import DatabosunError, UserFault
from databosun.engines.postgresql.connect import Session, open_replication, open_sql
from databosun.engines.postgresql.faults import guarded
from databosun.engines.postgresql.preflight import physical_settings
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.server import ServerFacts, gather_server
from databosun.engines.postgresql.slots import CONTINUOUS, unbounded


def examine_archiving(session: Session, *, allow_unbounded: bool) -> list[Finding]:
    """Findings for the primary; all of them block archiving but those that time may mend."""
    facts = gather_server(session)
    findings = [one.model_copy(update={"blocks": CONTINUOUS}) for one in physical_settings(facts)]
    findings += _login(session) if not findings else []
    findings += _slots(session, facts)
    limit = unbounded(int(facts.settings["max_slot_wal_keep_size"]), allowed=allow_unbounded)
    return [*findings, *([limit] if limit else [])]


def _login(session: Session) -> list[Finding]:
    """Only a login shows what pg_hba.conf says about replication."""
    try:
        with closing(open_replication(session)):
            return []
    except DatabosunError as fault:
        blocks = CONTINUOUS if isinstance(fault, UserFault) else []
        return [Finding(reason=fault.reason, message=fault.message, blocks=blocks)]


def _slots(session: Session, facts: ServerFacts) -> list[Finding]:
    """Whether there is room for one more slot, or ours is there already."""
    with open_sql(session) as connection, guarded("counting replication slots"):
        row = connection.execute(
            "SELECT count(*)::int, count(*) FILTER (WHERE slot_name LIKE 'databosun\\_%%')::int "
            "FROM pg_catalog.pg_replication_slots WHERE NOT temporary"
        ).fetchone()
    taken, ours = (int(str(one)) for one in row) if row else (0, 0)
    most = int(facts.settings["max_replication_slots"])
    if ours or taken < most:
        return []
    message = f"all {most} replication slots of {facts.host} are taken, and an archiver needs one"
    fix = f"ALTER SYSTEM SET max_replication_slots = {most + 4}; -- then restart the server"
    return [Finding(reason=Reason.NO_REPLICATION_SLOT, message=message, fix=fix, blocks=CONTINUOUS)]
