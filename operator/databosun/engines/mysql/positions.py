"""Where in the binary log a backup ends, as the next one must know it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from databosun.api.v1alpha1.backup import Position
from databosun.domain.wal import format_lsn, lsn_of
from databosun.engines.filelog import TIMELINE

# Stored unencrypted beside the artefacts: what an Incremental stands on.
BASE_FILE = "binlog.json"
# Where an Incremental keeps the pieces of the log that it holds, in order.
PIECES = "binlog/"
# In the environment of a manifest: when the file that the backup ends in was begun.
BEGAN = "logBegan"


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


def number_of_file(name: str) -> int:
    """7 of `bin.000007`. ValueError."""
    digits = name.rpartition(".")[2]
    if not digits.isascii() or not digits.isdigit():
        msg = f"{name!r} is no name of a binary log; expected a number behind its last dot"
        raise ValueError(msg)
    return int(digits)


def backup_position(mark: Mark | None, *, archived: bool) -> Position:
    """For a manifest. `archived`: the log of the very server that was read may be replayed onto it.

    A replay reads from the beginning of the file, which says how to read it, and skips to the mark.
    """
    if mark is None:
        return Position()
    found = Position(binlog=format_position(mark), gtid=mark.gtid or None)
    if not archived:
        return found
    number = number_of_file(mark.file)
    return found.model_copy(
        update={
            "start_lsn": format_lsn(lsn_of(number, 0)),
            "lsn": format_lsn(lsn_of(number, mark.position)),
            "timeline": TIMELINE,
        }
    )
