"""`python -m support.archiverprocess FOLDER`: the agent as a process of its own, with a pod's files in a folder."""

from __future__ import annotations

import sys
from pathlib import Path

from databosun.agent import main as agent
from databosun.agent.context import Paths


def serve(folder: Path) -> None:
    """Run as `databosun agent` does."""
    here = Paths(
        folder / "request.json", folder / "secrets", folder / "scratch", folder / "termination", folder / "volume"
    )
    agent.leave(agent.run(here, sys.stdout))


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
