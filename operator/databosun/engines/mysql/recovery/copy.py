"""A recovered copy that runs: its checks, and its end as a data directory that can be started elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from databosun.api.drill import Check, CheckResult, Level
from databosun.engines.mysql.checks.run import builtin_checks, run_check
from databosun.engines.mysql.checks.scene import Scene
from databosun.engines.mysql.connect import quote
from databosun.engines.mysql.faults import guarded
from databosun.engines.mysql.fingerprint import list_tables
from databosun.engines.mysql.recovery.facts import Backup
from databosun.engines.mysql.recovery.private import PrivateServer
from databosun.engines.recovered import RecoveredCopy, sync_files
from databosun.engines.recovery import Reached, RecoveryPlan

_OF_THE_COPY = ("ib_buffer_pool", "ddl_recovery-backup.log")
# What mariadb-backup told itself of the copy.
_OF_THE_PROGRAM = ("backup-my.cnf", "xtrabackup_*", "mariadb_backup_*")


class RunningCopy(RecoveredCopy[PrivateServer]):
    """`Copy` of `engines/base.py`."""

    def __init__(
        self,
        server: PrivateServer,
        backups: Sequence[Backup],
        reached: Reached,
        seconds: dict[str, float],
        notes: Sequence[str],
        plan: RecoveryPlan,
    ) -> None:
        super().__init__(server, reached, seconds, notes, plan)
        replayed = plan.log is not None
        self._scene = Scene(server, tuple(backups), plan.assumed_at, plan.pulse, replayed)

    def has_schema(self, name: str) -> bool:
        """Whether there is one of a name, as the server tells names apart."""
        connection = self._server.connect()
        try:
            with guarded("listing schemas"), connection.cursor() as cursor:
                cursor.execute("SELECT @@lower_case_table_names")
                folds = any(row[0] for row in cursor.fetchall())
                found = self._scene.schemas(connection)
        finally:
            connection.close()
        return name in found or (folds and name.lower() in {one.lower() for one in found})

    def builtin(self, level: Level) -> tuple[Check, ...]:
        """The checks that a level stands for."""
        return builtin_checks(level, self._scene)

    def reindex(self) -> None:
        """Rebuild every table with its indexes."""
        connection = self._server.connect(read_only=False)
        try:
            with guarded("rebuilding tables"), connection.cursor() as cursor:
                for table in list_tables(connection, self._scene.schemas(connection)):
                    cursor.execute(f"ALTER TABLE {quote(table.schema)}.{quote(table.name)} FORCE")
        finally:
            connection.close()

    def flush(self) -> None:
        """Have everything on disk, so that a measured time does not leave out what a careful server waits for."""
        with self._syncing(), guarded("flushing the copy to disk"):
            connection = self._server.connect(read_only=False)
            try:
                with connection.cursor() as cursor:
                    cursor.execute("FLUSH LOGS")
                    cursor.execute("FLUSH TABLES")
            finally:
                connection.close()
            sync_files(self._server.data)

    def finish(self) -> None:
        """Stop cleanly, flush, and leave what a server of that series starts from."""
        connection = self._server.connect(read_only=False)
        try:
            with guarded("stopping the copy"), connection.cursor() as cursor:
                cursor.execute("SET GLOBAL innodb_fast_shutdown = 0")
                cursor.execute(f"DROP USER '{self._server.admin}'@'localhost'")
        finally:
            connection.close()
        self._server.stop(self._plan.pulse)
        for name in _OF_THE_COPY:
            (self._server.data / name).unlink(missing_ok=True)
        for pattern in _OF_THE_PROGRAM:
            for path in self._server.data.glob(pattern):
                path.unlink()
        with self._syncing(), guarded("flushing the copy to disk"):
            sync_files(self._server.data)

    def _run_check(self, check: Check) -> CheckResult:
        return run_check(self._scene, check)
