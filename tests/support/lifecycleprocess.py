"""Agents as processes of their own, made fast: `python -m support.lifecycleprocess` reads one folder a line.

For each line it forks an agent that works with the pod's files in that folder, says to a file `out-<n>` in it what an
agent says, and may be killed at any moment; its process id is answered. Where the line names seconds, the agent is dead
so long after it came to its work, whatever else is slow on the machine.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path

from databosun.agent import main as agent
from databosun.agent.context import Paths
from databosun.engines.mongodb import lifecycle as mongodb
from databosun.engines.mysql import lifecycle as mysql
from databosun.engines.postgresql import lifecycle as postgresql
from databosun.storage import s3, volume

LOADED = (postgresql, mysql, mongodb, s3, volume)  # before the fork, so that an agent is at work at once


class Doomed(io.StringIO):
    """Standard output."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def write(self, text: str) -> int:
        """Pass it on. Who says that it is at work has so many seconds to live."""
        written = os.write(1, text.encode())
        if self._seconds and '"phase":"enforce"' in text:
            signal.setitimer(signal.ITIMER_REAL, self._seconds)
            self._seconds = 0
        return written


def serve(folder: Path, out: str, seconds: float) -> None:
    """Run as `databosun agent` does, in a process group of its own."""
    os.setpgrp()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    handle = os.open(folder / out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(handle, number)
    here = Paths(
        folder / "request.json", folder / "secrets", folder / "scratch", folder / "termination", folder / "volume"
    )
    agent.leave(agent.run(here, Doomed(seconds)))


def main() -> None:
    """Until the input ends. Nobody waits for the agents: their end is seen by their ids."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        folder, out, seconds = line.split()
        child = os.fork()
        if child == 0:
            serve(Path(folder), out, float(seconds))
        print(child, flush=True)


if __name__ == "__main__":
    main()
