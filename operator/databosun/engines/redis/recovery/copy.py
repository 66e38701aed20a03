"""A recovered copy that runs: its checks, and its end as a data directory that can be started elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

from databosun.api.drill import Check, CheckResult, Level
from databosun.api.v1alpha1.backup import Position
from databosun.engines.base import Reached, RecoveryPlan
from databosun.engines.redis.checks.run import builtin_checks, run_check
from databosun.engines.redis.checks.scene import Scene
from databosun.engines.redis.recovery.facts import Backup
from databosun.engines.redis.recovery.handover import APPEND_FOLDER, APPEND_NAME, in_parts
from databosun.engines.redis.recovery.private import FILE, PrivateServer


class RunningCopy:
    """`Copy` of `engines/base.py`."""

    def __init__(
        self,
        server: PrivateServer,
        backup: Backup,
        loaded: Mapping[int, tuple[int, int]],
        seconds: dict[str, float],
        notes: Sequence[str],
        plan: RecoveryPlan,
    ) -> None:
        self._server = server
        self._backup = backup
        self._seconds = seconds
        self._notes = notes
        self._plan = plan
        self._scene = Scene(server, backup, loaded, plan.assumed_at, plan.pulse)

    @property
    def reached(self) -> Reached:
        """Where recovery ended: at the backup's own instant."""
        return Reached(Position(offset=self._backup.offset))

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
        return builtin_checks(level, self._backup)

    def check(self, check: Check) -> CheckResult:
        """Run one check."""
        began = time.monotonic()
        found = run_check(self._scene, check)
        return found.model_copy(update={"seconds": round(time.monotonic() - began, 3)})

    def reindex(self) -> None:
        """There are no indexes."""

    def flush(self) -> None:
        """Have the file on disk, so that a measured time does not leave out what a server's volume waits for."""
        began = time.monotonic()
        for path in (self._server.data / FILE, self._server.data):
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        self._seconds["sync"] = self._seconds.get("sync", 0.0) + time.monotonic() - began

    def finish(self) -> None:
        """Stop cleanly, and leave what a server starts from, whether or not it keeps an append-only file."""
        self._server.stop(self._plan.pulse)
        if in_parts(self._backup):
            folder = self._server.data / APPEND_FOLDER
            folder.mkdir(mode=0o700)
            # Never written again by a server, which appends to other parts and replaces this one as a whole.
            os.link(self._server.data / FILE, folder / f"{APPEND_NAME}.1.base.rdb")
            manifest = f"file {APPEND_NAME}.1.base.rdb seq 1 type b\n"
            (folder / f"{APPEND_NAME}.manifest").write_text(manifest)
        self.flush()

    def kill(self) -> None:
        """End it at once."""
        self._server.kill()
