"""A recovered copy that runs: its checks, and its end as a data directory that can be started elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from databosun.api.drill import Check, CheckResult, Level
from databosun.engines.base import Reached, RecoveryPlan
from databosun.engines.redis.checks.run import builtin_checks, run_check
from databosun.engines.redis.checks.scene import Scene
from databosun.engines.redis.faults import guarded
from databosun.engines.redis.recovery.facts import Backup
from databosun.engines.redis.recovery.handover import leave
from databosun.engines.redis.recovery.private import PrivateServer


@dataclass(frozen=True, slots=True)
class Loaded:
    """Keys, and keys with a time to live, by database, where recovery ended, and what the server refused of the log."""

    counts: Mapping[int, tuple[int, int]]
    reached: Reached
    refused: str = ""


class RunningCopy:
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
        self._server = server
        self._backup = backup
        self._reached = loaded.reached
        self._seconds = seconds
        self._notes = notes
        self._plan = plan
        self._scene = Scene(server, backup, loaded.counts, plan.assumed_at, plan.pulse, loaded.refused)

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
        """By phase."""
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
        """There are no indexes."""

    def flush(self) -> None:
        """Have the files on disk, so that a measured time does not leave out what a server's volume waits for."""
        began = time.monotonic()
        for folder, _, names in os.walk(self._server.data):
            for path in (*(Path(folder, name) for name in names), Path(folder)):
                handle = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
        self._seconds["sync"] = self._seconds.get("sync", 0.0) + time.monotonic() - began

    def finish(self) -> None:
        """Stop cleanly, and leave what a server starts from, whether or not it keeps an append-only file."""
        self._server.stop(self._plan.pulse)
        with guarded(f"writing below {self._server.data}"):
            leave(self._backup, self._server.data, replayed=self._server.replay)
        self.flush()

    def kill(self) -> None:
        """End it at once."""
        self._server.kill()
