"""The user's own queries, asked of what is staged: of the very databases that will be in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from databosun.api.drill import Check, CheckOutcome, CheckResult, CheckType, Severity
from databosun.domain.drill import CheckReason
from databosun.domain.errors import UserFault
from databosun.engines.postgresql.bridge.server import Server
from databosun.engines.postgresql.checks.run import run_check
from databosun.engines.postgresql.checks.scene import Scene
from databosun.engines.postgresql.connect import Connection, connect
from databosun.engines.postgresql.recovery.copy import RunningCopy

QUERIES = frozenset({CheckType.FRESHNESS, CheckType.CANARY, CheckType.QUERY, CheckType.ROW_COUNT})
"""What can be asked of any server; the others need the copy, or what the backup recorded."""


@dataclass(frozen=True, slots=True)
class StagedScene(Scene):
    """The databases as the user knows them, under the names that they have for now."""

    target: Server
    aliases: Mapping[str, str]

    def connect(self, dbname: str, *, read_only: bool = True) -> Connection:
        """A session of the target."""
        if dbname not in self.aliases:
            msg = f"database {dbname} was not restored; restored were {', '.join(sorted(self.aliases))}"
            raise ValueError(msg)
        connection = connect(self.target.session.target, self.target.session.endpoint, self.aliases[dbname])
        if read_only:
            connection.execute("SET default_transaction_read_only = on")
        return connection

    def databases(self) -> tuple[str, ...]:
        """Those that were restored."""
        return tuple(sorted(self.aliases))


def check_staged(
    server: Server, copy: RunningCopy, aliases: Mapping[str, str], checks: Sequence[Check], pulse: Callable[[], None]
) -> list[CheckResult]:
    """UserFault with the check's reason where a critical one fails."""
    scene = StagedScene(
        copy.scene.server, copy.scene.backup, copy.scene.assumed_at, pulse, copy.scene.replayed_log, server, aliases
    )
    found = []
    for check in checks:
        pulse()
        result = run_check(scene, check)
        found.append(result)
        if result.outcome is CheckOutcome.FAILED and result.severity is Severity.CRITICAL:
            message = f"check {check.name} of what was staged failed: {result.message}"
            raise UserFault(result.reason or CheckReason.CHECK_FAILED, message)
    return found
