"""A logical backup: a dump in one snapshot, then its tables counted and hashed in that very snapshot."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pymysql.connections import Connection

from databosun.api.v1alpha1.backup import ObjectCount
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import SafetyStop, WorldFault
from databosun.engines.base import Captured, Plan, Sink, StreamCheck
from databosun.engines.mysql.accounts import ENDING, accounts_script
from databosun.engines.mysql.connect import Session, one, opened
from databosun.engines.mysql.counting import Counting
from databosun.engines.mysql.definitions import Definitions, missing_from, read_definitions
from databosun.engines.mysql.dialect import Dialect
from databosun.engines.mysql.dumpcheck import DumpCheck, ScriptCheck
from databosun.engines.mysql.environment import gather_environment
from databosun.engines.mysql.faults import guarded
from databosun.engines.mysql.fingerprint import Table, expected_lines, list_tables, verify_script
from databosun.engines.mysql.logplace import place_in_log
from databosun.engines.mysql.positions import BASE_FILE, Mark, backup_position
from databosun.engines.mysql.relay import Relay
from databosun.engines.mysql.server import ServerFacts
from databosun.engines.mysql.tools import Tool, environment_of, tool_for
from databosun.engines.program import bound

DUMP, USERS = "dump.sql.zst", "users.sql.zst"
VERIFY_SCRIPT, VERIFY_EXPECTED = "verify.sql.zst", "verify.expected.zst"
# The client's own buffer; a row may be as large as the server lets it be.
_MAX_PACKET = "--max-allowed-packet=1G"
_CHUNK = 256 * 1024
_COUNT_LOOK_SECONDS = 0.5


@dataclass(slots=True)
class Run:
    """What the parts of one backup share."""

    session: Session
    facts: ServerFacts
    plan: Plan
    sink: Sink
    versions: dict[str, str] = field(default_factory=dict)
    stage: str = "prepare"

    @property
    def dialect(self) -> Dialect:
        """What the server speaks."""
        return self.session.dialect

    @property
    def schemas(self) -> tuple[str, ...]:
        """What is dumped."""
        only = self.session.target.database.database
        return (only,) if only else tuple(self.facts.schemas)

    def tool(self, name: str) -> str:
        """A program's path; its version is remembered."""
        program, self.versions[name] = tool_for(name, self.dialect, self.facts.series)
        return str(program)

    def say(self, stage: str) -> None:
        """Say what is being done from now on."""
        self.stage = stage
        self.sink.progress(stage)

    def pulse(self) -> None:
        """Raise where the agent is to stop; waiting for a database is not seen by it otherwise."""
        self.sink.progress(self.stage)
        if datetime.now(UTC) >= self.plan.deadline:
            message = f"the run's deadline {self.plan.deadline.isoformat()} has passed; raise spec.deadline"
            raise WorldFault(Reason.DEADLINE_EXCEEDED, message)


def back_up_logical(session: Session, facts: ServerFacts, plan: Plan, sink: Sink) -> Captured:
    """Dump the target's database, or every one but the server's own, with the accounts."""
    run = Run(session, facts, plan, sink)
    run.say("prepare")
    whole = session.target.database.database is None
    with opened(session) as connection:
        environment = gather_environment(connection, run.dialect, facts, run.schemas)
        before = read_definitions(connection, run.dialect, run.schemas, accounts=whole)
        mark, at, objects = _dump(run, connection, before)
        left = _dump_accounts(run, connection) if whole else ()
        after = read_definitions(connection, run.dialect, run.schemas, accounts=whole)
    changed = _demand_unchanged(plan, before, after)
    sink.put_plain(BASE_FILE, mark.document() if mark else b"{}\n")
    position, log = place_in_log(session, facts, mark, at) if whole else (backup_position(mark, archived=False), {})
    return Captured(
        type=BackupType.FULL,
        method=Method.LOGICAL,
        engine_version=facts.version,
        system_identifier=facts.system_identifier,
        position=position,
        snapshot_time=at,
        parent=None,
        base=None,
        chain_length=0,
        environment={**environment, **log, "accounts": whole, "counted": plan.fingerprints},
        objects=objects,
        schema_hash=None if changed else before.hash,
        client_versions=dict(run.versions),
        notes=(*fingerprint_notes(plan), *left, *changed),
    )


def _dump(
    run: Run, connection: Connection[Any], before: Definitions
) -> tuple[Mark | None, datetime, tuple[ObjectCount, ...]]:
    """The dump in the sink, where and when its snapshot lies, and what was counted in it."""
    run.say("dump")
    check = DumpCheck(DUMP)
    with guarded("reading the server's clock"):
        (now,) = one(connection, "SELECT UTC_TIMESTAMP(6)")
    lag = run.facts.replica.lag if run.facts.replica else None
    at = now.replace(tzinfo=UTC) - lag if lag else now.replace(tzinfo=UTC)
    _through(run, connection, DUMP, check, _dump_arguments(run))
    missing = missing_from(before.inventory, check.inventory)
    if missing:
        said = "; ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        current = read_definitions(connection, run.dialect, run.schemas, accounts=False)
        if missing_from(current.inventory, check.inventory):
            raise SafetyStop(Reason.DUMP_INCOMPLETE, f"{run.dialect.dump} ended well, and its dump lacks {said}")
        raise WorldFault(Reason.SCHEMA_CHANGED, f"dropped while the dump was on its way: {said}; the next one is whole")
    objects = count_tables(run, connection, list_tables(connection, run.schemas)) if run.plan.fingerprints else ()
    # A log that lacks what was replicated is no place to go on from.
    mark = Mark(*check.log, gtid=check.gtid or "") if check.log and run.facts.logs_all else None
    return mark, at, objects


def count_tables(run: Run, connection: Connection[Any], tables: Sequence[Table]) -> tuple[ObjectCount, ...]:
    """In the transaction of the session, which is that of the backup's instant: it is open until the session ends."""
    run.say("count")
    with Counting(run.session, connection, tables) as counting:
        while not counting.done:
            counting.wait(_COUNT_LOOK_SECONDS)
            run.pulse()
        objects = counting.result()
    _small(run, VERIFY_SCRIPT, verify_script(tables, run.dialect))
    _small(run, VERIFY_EXPECTED, expected_lines(objects))
    return objects


def _dump_accounts(run: Run, connection: Connection[Any]) -> tuple[str, ...]:
    """Accounts, roles and their privileges. A note of those that are not in force."""
    run.say("dump accounts")
    with guarded("reading accounts"):
        script, left = accounts_script(connection, run.dialect)
    writer = run.sink.open(USERS, compress=True, check=lambda: ScriptCheck(USERS, ENDING.encode()))
    writer.write(script.encode())
    writer.finish()
    if not left:
        return ()
    return (
        f"{Reason.ACCOUNTS_LEFT}: accounts that the server does not look at (skip-name-resolve), or privileges on what "
        f"is gone, are not in the backup: {', '.join(left[:5])}",
    )


def _through(run: Run, connection: Connection[Any], name: str, check: StreamCheck, arguments: Sequence[str]) -> None:
    """Run the dump in a session of ours, its output into the sink."""
    with (
        tempfile.TemporaryDirectory(prefix="bosun-", ignore_cleanup_errors=True) as home,
        Relay(connection, run.dialect) as relay,
    ):
        argv = [run.tool(run.dialect.dump), "--no-defaults", f"--socket={relay.socket_path}", *arguments]
        writer = run.sink.open(name, compress=True, check=lambda: check)
        with Tool(bound(argv), env=environment_of(Path(home), run.dialect), cwd=Path(home), capture=True) as tool:
            _pump(tool, writer.write, run.pulse)
            tool.require_success(f"{run.stage} with {run.dialect.dump}")
        relay.demand_clean_end()
        writer.finish()


def _common(run: Run) -> list[str]:
    return [
        "--protocol=socket",
        f"--user={run.session.user}",
        "--default-character-set=utf8mb4",
        "--single-transaction",
        "--quick",
        "--skip-lock-tables",
        _MAX_PACKET,
    ]


def _dump_arguments(run: Run) -> list[str]:
    log = [*run.dialect.dumped, *(run.dialect.log if run.facts.log_bin else ())]
    if (mode := run.facts.settings.get("gtid_mode")) is not None:
        # Asked for GTIDs that are off, mysqldump ends well, with a dump of nothing.
        log.append(f"--set-gtid-purged={'OFF' if mode == 'OFF' else 'COMMENTED'}")
    contents = ["--triggers", "--routines", "--events", "--hex-blob", "--tz-utc"]
    return [*_common(run), *log, *contents, "--databases", "--", *run.schemas]


def _demand_unchanged(plan: Plan, before: Definitions, after: Definitions) -> tuple[str, ...]:
    """Definitions follow no snapshot: a dump across a change of them is of no one instant, and a log replayed on it
    would make things twice."""
    if (before.hash, before.accounts) == (after.hash, after.accounts):
        return ()
    what = "definitions" if before.hash != after.hash else "accounts"
    message = f"{what} were changed while they were being dumped (DDL, GRANT)"
    if plan.consistency == "Strict":
        raise WorldFault(Reason.SCHEMA_CHANGED, f"{message}; the next attempt starts anew")
    return (f"{Reason.SCHEMA_CHANGED}: {message}; restored, they may be those before or after it",)


def fingerprint_notes(plan: Plan) -> tuple[str, ...]:
    """What a backup says of itself where its rows were not to be counted."""
    if plan.fingerprints:
        return ()
    return (
        f"{Reason.FINGERPRINTS_OFF}: no rows were counted or hashed (fingerprints: false in the policy), so that a "
        "restored copy cannot be compared row for row",
    )


def _small(run: Run, name: str, text: str) -> None:
    writer = run.sink.open(name, compress=True)
    writer.write(text.encode())
    writer.finish()


def _pump(tool: Tool, write: Callable[[bytes], object], pulse: Callable[[], None]) -> None:
    """Everything that the program prints."""
    while data := tool.read(_CHUNK, pulse):
        write(data)
