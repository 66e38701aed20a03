"""A dump of the copy flows straight into the target: pg_dump | pg_restore, both watched, nothing in between on disk.

Both are of the backup's major version: what pg_dump writes loads into servers of its own version and newer ones (its
manual says so), and the target is none older.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence

from psycopg.conninfo import make_conninfo

from databosun.domain.errors import UserFault, WorldFault
from databosun.engines.postgresql.bridge.server import Server
from databosun.engines.postgresql.faults import guarded
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.recovery.private import PrivateServer
from databosun.engines.postgresql.tools import Tool, tool_conninfo, tool_environment, tool_of_major
from databosun.engines.program import bound

_LOOK_SECONDS = 0.2
_SIZE_EVERY = 5.0
_APPLICATION = "databosun restore"
# A restored subscriber would take the place of the original at its publisher.
_RESTORE = ("--exit-on-error", "--format=custom", "--no-subscriptions", "--no-password")
# The commit that puts it in place waits for the disk, and with it for everything before.
_OPTIONS = "-c synchronous_commit=off -c statement_timeout=0 -c idle_in_transaction_session_timeout=0"
_OPTIONS += " -c default_transaction_read_only=off"


def transfer(
    copy: PrivateServer,
    major: int,
    server: Server,
    source: str,
    into: str,
    *,
    dump: Sequence[str],
    restore: Sequence[str],
    doing: str,
    pulse: Callable[[], None],
    progress: Callable[[], None],
) -> None:
    """Dump database `source` of the copy, restore through database `into` of the target."""
    writer, _ = tool_of_major("pg_dump", major)
    reader, _ = tool_of_major("pg_restore", major)
    database = make_conninfo(dbname=source)
    dumping = [str(writer), f"--dbname={database}", "--format=custom", "--compress=0", "--no-password", *dump]
    target = make_conninfo(tool_conninfo(server.session, into), application_name=_APPLICATION)
    restoring = [str(reader), f"--dbname={target}", *_RESTORE, *restore]
    env = {**tool_environment(server.session, copy.folder), "PGOPTIONS": _OPTIONS}
    with (
        guarded(doing),
        Tool(bound(dumping), env=copy.tool_environment, cwd=copy.folder, capture=True) as source_tool,
        Tool(bound(restoring), env=env, cwd=copy.folder, stdin=source_tool.output) as target_tool,
    ):
        source_tool.let_go()
        looked = time.monotonic()
        while not target_tool.ended(within=_LOOK_SECONDS):
            pulse()
            if time.monotonic() - looked > _SIZE_EVERY:
                progress()
                looked = time.monotonic()
        _demand(source_tool, target_tool, doing)


def _demand(source: Tool, target: Tool, doing: str) -> None:
    """Whose words count: the dump's, unless it was ended by a reader that had gone."""
    while not source.ended(within=_LOOK_SECONDS):
        if target.wait() != 0:
            break
    code = source.wait() if source.ended() else -signal.SIGPIPE
    # pg_dump without a reader says that it could not write.
    if code not in (0, -signal.SIGPIPE) and "could not write" not in source.stderr_tail():
        source.require_success(doing)
    try:
        target.require_success(doing)
    except WorldFault as fault:
        if fault.reason != Reason.DATABASE_ERROR:
            raise
        # What the server does not take now, it will not take in the next attempt.
        raise UserFault(Reason.TARGET_REFUSES, fault.message) from fault
    if code != 0:
        raise WorldFault(Reason.TOOL_FAILED, f"{doing}: pg_dump ended with {code} before all was written")
