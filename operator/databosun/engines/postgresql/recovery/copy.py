"""A recovered copy that runs: its checks, and its end as a data directory that can be started elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from databosun.api.drill import Check, CheckResult, Level
from databosun.engines.postgresql.checks.run import builtin_checks, run_check
from databosun.engines.postgresql.checks.scene import Scene
from databosun.engines.postgresql.recovery.facts import Backup
from databosun.engines.postgresql.recovery.place import Place, make_movable
from databosun.engines.postgresql.recovery.private import PrivateServer
from databosun.engines.postgresql.recovery.programs import run_tool
from databosun.engines.recovered import RecoveredCopy
from databosun.engines.recovery import Reached, RecoveryPlan

_REFRESH_SINCE = 15


class RunningCopy(RecoveredCopy[PrivateServer]):
    """`Copy` of `engines/base.py`."""

    def __init__(
        self,
        server: PrivateServer,
        backup: Backup,
        place: Place,
        reached: Reached,
        seconds: dict[str, float],
        notes: Sequence[str],
        plan: RecoveryPlan,
    ) -> None:
        super().__init__(server, reached, seconds, notes, plan)
        self._place = place
        self._backup = backup
        self._scene = Scene(server, backup, plan.assumed_at, plan.pulse, plan.log is not None)

    def databases(self) -> tuple[str, ...]:
        """All that can be connected to and are no templates."""
        return self._scene.databases()

    @property
    def scene(self) -> Scene:
        """What its checks have at hand."""
        return self._scene

    @property
    def major(self) -> int:
        """The major version of the server that runs."""
        return self._backup.major

    def builtin(self, level: Level) -> tuple[Check, ...]:
        """The checks that a level stands for."""
        return builtin_checks(level, self._backup)

    def reindex(self) -> None:
        """Rebuild every index, and take the collations of this image for right."""
        for dbname in self._scene.databases():
            with self._server.connect(dbname, read_only=False) as connection:
                connection.execute(sql.SQL("REINDEX DATABASE {}").format(sql.Identifier(dbname)))
                if self._backup.major >= _REFRESH_SINCE:
                    refresh = sql.SQL("ALTER DATABASE {} REFRESH COLLATION VERSION").format(sql.Identifier(dbname))
                    connection.execute(refresh)

    def flush(self) -> None:
        """Have everything on disk, so that a measured time does not leave out what a server with fsync waits for."""
        arguments = ["--sync-only", "-D", str(self._place.data)]
        with self._syncing():
            run_tool("initdb", self._backup.major, arguments, self._plan.pulse, doing="flushing the copy to disk")

    def finish(self) -> None:
        """Stop cleanly, flush, and leave what a server of that version starts from."""
        self._server.stop(self._plan.pulse)
        for name in ("backup_manifest", "backup_label.old", "tablespace_map.old", "recovery.done", "postmaster.opts"):
            (self._place.data / name).unlink(missing_ok=True)
        make_movable(self._place)
        self.flush()

    def _run_check(self, check: Check) -> CheckResult:
        return run_check(self._scene, check)
