"""What a pod leaves behind on the machine."""

from __future__ import annotations

import os
from pathlib import Path


def processes_of(folder: Path) -> list[int]:
    """Processes that have anything to do with a folder: named on their command line, their working directory, or with
    a file open below it, such as backends, whose command line names nothing."""
    return [
        int(entry.name)
        for entry in os.scandir("/proc")
        if entry.name.isdigit() and int(entry.name) != os.getpid() and _uses(entry.path, str(folder))
    ]


def _uses(process: str, folder: str) -> bool:
    try:
        if folder.encode() in Path(process, "cmdline").read_bytes() or folder in os.readlink(f"{process}/cwd"):
            return True
        return any(os.readlink(one.path).startswith(folder) for one in os.scandir(f"{process}/fd"))
    except OSError:
        return False  # it ended while we looked
