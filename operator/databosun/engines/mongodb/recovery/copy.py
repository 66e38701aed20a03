"""A recovered copy that runs: its checks, and its end as a data directory that can be started elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pymongo.errors import OperationFailure

from databosun.api.drill import Check, CheckResult, Level
from databosun.engines.base import Reached, RecoveryPlan
from databosun.engines.mongodb.checks.run import builtin_checks, run_check
from databosun.engines.mongodb.checks.scene import Scene
from databosun.engines.mongodb.faults import NO_SUCH_COMMAND, guarded
from databosun.engines.mongodb.recovery.facts import Backup
from databosun.engines.mongodb.recovery.private import PrivateServer


class RunningCopy:
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
        self._server = server
        self._reached = reached
        self._seconds = seconds
        self._notes = notes
        self._plan = plan
        self._scene = Scene(server, tuple(backups), plan.assumed_at, plan.pulse, whole=whole)

    @property
    def reached(self) -> Reached:
        """Where recovery ended."""
        return self._reached

    @property
    def notes(self) -> Sequence[str]:
        """What is otherwise than in the original."""
        return self._notes

    @property
    def seconds(self) -> Mapping[str, float]:
        """By phase: fetch, restore, replay, start, and what was flushed so far."""
        return dict(self._seconds)

    @property
    def server(self) -> PrivateServer:
        """For tests."""
        return self._server

    def builtin(self, level: Level) -> tuple[Check, ...]:
        """The checks that a level stands for."""
        return builtin_checks(level, self._scene)

    def check(self, check: Check) -> CheckResult:
        """Run one check."""
        began = time.monotonic()
        found = run_check(self._scene, check)
        return found.model_copy(update={"seconds": round(time.monotonic() - began, 3)})

    def reindex(self) -> None:
        """Indexes were built in this copy, by its own collations."""

    def flush(self) -> None:
        """Have everything on disk, so that a measured time does not leave out what a careful server waits for."""
        began = time.monotonic()
        with self._server.client() as client, guarded("flushing the copy to disk"):
            try:
                client.admin.command("fsync")
            except OperationFailure as error:
                if error.code != NO_SUCH_COMMAND:
                    raise
        self._sync(began)

    def finish(self) -> None:
        """Stop cleanly, flush, and leave what a server of that series starts from."""
        self._server.stop(self._plan.pulse)
        self._sync(time.monotonic())

    def kill(self) -> None:
        """End it at once."""
        self._server.kill()

    def _sync(self, began: float) -> None:
        with guarded("flushing the copy to disk"):
            for folder, _, names in os.walk(self._server.data):
                for name in names:
                    _fsync(Path(folder, name))
                _fsync(Path(folder))
        self._seconds["sync"] = self._seconds.get("sync", 0.0) + time.monotonic() - began


def _fsync(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:  # a temporary one of the running server
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
