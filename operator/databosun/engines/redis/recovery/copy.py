"""A recovered copy that runs: its checks, and its end as a data directory that can be started elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from databosun.api.drill import Check, CheckResult, Level
from databosun.engines.recovered import RecoveredCopy, sync_files
from databosun.engines.recovery import Reached, RecoveryPlan
from databosun.engines.redis.checks.run import builtin_checks, run_check
from databosun.engines.redis.checks.scene import Scene
from databosun.engines.redis.faults import guarded
from databosun.engines.redis.recovery.facts import Backup, same_format
from databosun.engines.redis.recovery.handover import appended, lay_out_commands, leave
from databosun.engines.redis.recovery.private import FILE, PrivateServer


@dataclass(frozen=True, slots=True)
class Loaded:
    """Keys, and keys with a time to live, by database, where recovery ended, and what the server refused of the log."""

    counts: Mapping[int, tuple[int, int]]
    reached: Reached
    refused: str = ""


class RunningCopy(RecoveredCopy[PrivateServer]):
    """`Copy` of `engines/base.py`."""

    def __init__(
        self,
        server: PrivateServer,
        backup: Backup,
        loaded: Loaded,
        seconds: dict[str, float],
        notes: Sequence[str],
        plan: RecoveryPlan,
    ) -> None:
        super().__init__(server, loaded.reached, seconds, notes, plan)
        self._backup = backup
        self._scene = Scene(server, backup, loaded.counts, plan.assumed_at, plan.pulse, loaded.refused)

    def builtin(self, level: Level) -> tuple[Check, ...]:
        """The checks that a level stands for."""
        return builtin_checks(level, self._scene)

    def reindex(self) -> None:
        """There are no indexes."""

    def flush(self) -> None:
        """Have the files on disk, so that a measured time does not leave out what a server's volume waits for."""
        with self._syncing(), guarded(f"flushing {self._server.data}"):
            sync_files(self._server.data)

    def finish(self) -> None:
        """Stop cleanly, and leave what a server starts from, whether or not it keeps an append-only file."""
        self._server.stop(self._plan.pulse)
        with guarded(f"writing below {self._server.data}"):
            leave(self._backup, self._server.data, replayed=self._server.replay)
        self.flush()

    def rewrite(self, commands: bytes) -> None:
        """Have the files say what these commands, which it has carried out, made of it: as after a replay, one file of
        what is in memory, and beside it, for a server that cannot read that, the backup's with the commands behind."""
        server = self._server
        with guarded(f"writing below {server.data}"):
            lay_out_commands(server.data, commands)
        server.replay = True
        server.save()
        with guarded(f"reading {server.data}"):
            readable = same_format(self._backup, server.data / FILE)
        note = appended(server.program, self._backup)
        if not readable and note not in self._notes:
            self._notes = (*self._notes, note)

    def _run_check(self, check: Check) -> CheckResult:
        return run_check(self._scene, check)
