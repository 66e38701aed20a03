"""Agents as processes of their own, made fast: `python -m support.lifecycleprocess` reads one folder a line.

For each line it forks an agent that works with the pod's files in that folder, says to a file `out-<n>` in it what an
agent says, and may be killed at any moment; its process id is answered.
"""

from __future__ import annotations

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


def serve(folder: Path, out: str) -> None:
    """Run as `databosun agent` does, in a process group of its own."""
    os.setpgrp()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    handle = os.open(folder / out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(handle, number)
    here = Paths(
        folder / "request.json", folder / "secrets", folder / "scratch", folder / "termination", folder / "volume"
    )
    agent.leave(agent.run(here, os.fdopen(1, "w", closefd=False)))


def main() -> None:
    """Until the input ends. Nobody waits for the agents: their end is seen by their ids."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        folder, out = line.split()
        child = os.fork()
        if child == 0:
            serve(Path(folder), out)
        print(child, flush=True)


if __name__ == "__main__":
    main()
