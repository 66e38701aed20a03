"""A recovered copy that runs: its checks, and its end as a data directory that can be started elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from pymongo.errors import OperationFailure

from databosun.api.drill import Check, CheckResult, Level
from databosun.engines.mongodb.checks.run import builtin_checks, run_check
from databosun.engines.mongodb.checks.scene import Scene
from databosun.engines.mongodb.faults import NO_SUCH_COMMAND, guarded
from databosun.engines.mongodb.recovery.facts import Backup
from databosun.engines.mongodb.recovery.private import PrivateServer
from databosun.engines.recovered import RecoveredCopy, sync_files
from databosun.engines.recovery import Reached, RecoveryPlan


class RunningCopy(RecoveredCopy[PrivateServer]):
    """`Copy` of `engines/base.py`. `whole`: recovered to the end of its backup, whose counts it then has."""

    def __init__(
        self,
        server: PrivateServer,
        backups: Sequence[Backup],
        reached: Reached,
        seconds: dict[str, float],
        notes: Sequence[str],
        plan: RecoveryPlan,
        *,
        whole: bool,
    ) -> None:
        super().__init__(server, reached, seconds, notes, plan)
        self._scene = Scene(server, tuple(backups), plan.assumed_at, plan.pulse, whole=whole)

    def builtin(self, level: Level) -> tuple[Check, ...]:
        """The checks that a level stands for."""
        return builtin_checks(level, self._scene)

    def reindex(self) -> None:
        """Indexes were built in this copy, by its own collations."""

    def flush(self) -> None:
        """Have everything on disk, so that a measured time does not leave out what a careful server waits for."""
        with self._syncing(), guarded("flushing the copy to disk"):
            with self._server.client() as client:
                try:
                    client.admin.command("fsync")
                except OperationFailure as error:
                    if error.code != NO_SUCH_COMMAND:
                        raise
            sync_files(self._server.data)

    def finish(self) -> None:
        """Stop cleanly, flush, and leave what a server of that series starts from."""
        self._server.stop(self._plan.pulse)
        with self._syncing(), guarded("flushing the copy to disk"):
            sync_files(self._server.data)

    def _run_check(self, check: Check) -> CheckResult:
        return run_check(self._scene, check)
