"""Where in the binary log a backup ends, as the next one must know it."""

from __future__ import annotations

import json
from dataclasses import dataclass

# Stored unencrypted beside the artefacts: what an Incremental stands on.
BASE_FILE = "binlog.json"
# Where an Incremental keeps the pieces of the log that it holds, in order.
PIECES = "binlog/"


@dataclass(frozen=True, slots=True)
class Mark:
    """A file of the log, a position in it, and the transactions before it (MariaDB's GTID position)."""

    file: str
    position: int
    gtid: str = ""

    def document(self) -> bytes:
        """For BASE_FILE."""
        return (json.dumps({"file": self.file, "position": self.position, "gtid": self.gtid}) + "\n").encode()


def read_mark(data: bytes) -> Mark | None:
    """What `document` wrote; None where the server wrote no log."""
    found = json.loads(data)
    if "file" not in found:
        return None
    return Mark(str(found["file"]), int(found["position"]), str(found.get("gtid") or ""))


def format_position(mark: Mark | None) -> str | None:
    """`bin.000007:4711`."""
    return f"{mark.file}:{mark.position}" if mark else None
