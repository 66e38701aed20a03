"""A user's own program against the copy: its exit code is the verdict, its last words stand beside it.

It runs as the agent does, in the drill's own pod, and is handed the socket and nothing else (docs/adr/0015).
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from databosun.api.drill import Check, CheckResult
from databosun.domain.drill import CheckReason
from databosun.engines.checking import failed, passed
from databosun.engines.postgresql.checks.scene import Scene
from databosun.engines.postgresql.tools import Tool
from databosun.engines.program import bound

_CHUNK = 4096
_KEPT = 16 * 1024
_SHOWN = 500


class _OutOfTimeError(Exception):
    """The program did not end in time."""


def check_program(scene: Scene, check: Check) -> CheckResult:
    """Run it to its end, bounded in time and in what is kept of its output. ValueError where there is none."""
    if not check.exec:
        msg = f"check {check.name} of type Job needs exec: a program and its arguments"
        raise ValueError(msg)
    home = Path(tempfile.mkdtemp(prefix="bosun-check-"))
    try:
        return _run(scene, check, check.exec, home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _run(scene: Scene, check: Check, argv: list[str], home: Path) -> CheckResult:
    limit = time.monotonic() + check.timeout_seconds

    def pulse() -> None:
        scene.pulse()
        if time.monotonic() > limit:
            raise _OutOfTimeError

    name, kept = Path(argv[0]).name, bytearray()
    environment = scene.server.program_environment(home, _database(scene, check))
    with Tool(bound(argv), env=environment, cwd=home, capture=True) as tool:
        try:
            while data := tool.read(_CHUNK, pulse):
                kept += data
                del kept[:-_KEPT]
            while not tool.ended(within=0.2):
                pulse()
        except _OutOfTimeError:
            message = f"{name} was still running after {check.timeout_seconds:g} s and was ended; raise timeout"
            return failed(check, CheckReason.PROGRAM_FAILED, message, observed=_tail(kept) or None)
        code = tool.wait()
        words = tool.stderr_tail()
    shown = _tail(kept)
    if code != 0:
        how = f"was killed by signal {-code}" if code < 0 else f"exited with {code}"
        message = f"{name} {how}: {words[-_SHOWN:] or shown or 'it said nothing'}"
        return failed(check, CheckReason.PROGRAM_FAILED, message, observed=shown or None, expected="exit code 0")
    return passed(check, observed=shown or f"{name} exited with 0", expected="exit code 0")


def _database(scene: Scene, check: Check) -> str:
    """The one that the check names, else the only one there is; a program may look at several."""
    try:
        return scene.database_of(check)
    except ValueError:
        return "postgres"


def _tail(kept: bytearray) -> str:
    return " ".join(bytes(kept).decode("utf-8", "replace").split())[-_SHOWN:]
