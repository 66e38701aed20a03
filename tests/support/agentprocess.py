"""The agent as a process of its own: `python -m support.agentprocess FOLDER MODE [STORE]`.

`slow` streams for ever at an easy pace; `late` too, and by its clock a day has passed once it is in the middle; `hang`
blocks where nothing wakes it, beside a program of the engine's own; a number streams that many bytes and ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from databosun.agent import main as agent
from databosun.agent.context import Paths
from support.fakeengine import FakeEngine


def engine_for(mode: str, folder: Path) -> FakeEngine:
    """An engine that does what the mode says; a file `running` shows that it is in the middle."""

    def slow(_name: str, done: int) -> None:
        if done > 12_000_000:
            (folder / "running").touch()
            threading.Event().wait(0.05)

    def hang(_name: str, done: int) -> None:
        if done > 1_000_000:
            child = subprocess.Popen(["sleep", "3600"])
            (folder / "running").write_text(str(child.pid))
            threading.Event().wait()

    if mode in {"slow", "late", "hang"}:
        return FakeEngine(artefacts={"base.tar": 1 << 40}, trap=hang if mode == "hang" else slow, piece=65536)
    return FakeEngine(artefacts={"base.tar": int(mode)}, piece=65536)


def serve(folder: Path, mode: str) -> None:
    """Run as `databosun agent` does, with the pod's files in a folder."""
    here = Paths(
        folder / "request.json", folder / "secrets", folder / "scratch", folder / "termination", folder / "volume"
    )
    engine = engine_for(mode, folder)

    def clock() -> datetime:
        return datetime.now(UTC) + timedelta(days=mode == "late" and (folder / "running").exists())

    agent.LOOK_SECONDS = 0.05  # so that its deadline is noticed as it passes
    # What hangs takes all the grace that it is given; what unwinds takes as long as the machine does.
    grace = 3.0 if mode == "hang" else agent.GRACE_SECONDS
    code = agent.run(here, sys.stdout, load_engine=lambda _: engine, clock=clock, grace=grace)
    sys.stdout.flush()
    print(f"peak {peak_rss()} KiB", file=sys.stderr)
    agent.leave(code)


def peak_rss() -> int:
    """The most memory this process has had, in KiB."""
    status = Path(f"/proc/{os.getpid()}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2])
