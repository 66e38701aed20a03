"""Where in the oplog a backup ends, as the next one must know it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from bson.timestamp import Timestamp

from databosun.api.v1alpha1.backup import Position
from databosun.domain.wal import format_lsn, lsn_of
from databosun.engines.filelog import TIMELINE

# The shipped oplog is a row of files, one for each of these that has entries; its number counts them since 1970.
# Never to be changed: what lies in stores is counted so.
FILE_SECONDS = 30
# Stored unencrypted beside the artefacts: what an Incremental stands on.
BASE_FILE = "oplog.json"
OPLOG = "oplog.bson.zst"


@dataclass(frozen=True, slots=True)
class Mark:
    """An entry of the oplog: its time, and the term in which it was written, which tells it from one rolled back."""

    ts: Timestamp
    term: int

    @property
    def at(self) -> datetime:
        """The whole second it was written in."""
        return datetime.fromtimestamp(self.ts.time, UTC)

    def __str__(self) -> str:
        return format_ts(self.ts)

    def document(self) -> bytes:
        """For BASE_FILE."""
        return (json.dumps({"time": self.ts.time, "increment": self.ts.inc, "term": self.term}) + "\n").encode()


def read_mark(data: bytes) -> Mark | None:
    """What `document` wrote; None where the server has no oplog."""
    found = json.loads(data)
    if "time" not in found:
        return None
    return Mark(Timestamp(int(found["time"]), int(found["increment"])), int(found["term"]))


def file_of(ts: Timestamp) -> int:
    """The number of the file that holds the entry of a time."""
    return int(ts.time) // FILE_SECONDS


def first_in(number: int) -> Timestamp:
    """A time that no entry of an earlier file has, and every one of this file."""
    return Timestamp(number * FILE_SECONDS, 0)


def backup_position(end: Mark | None, *, identified: bool) -> Position:
    """For a manifest. `identified`: of a server whose log can be told from others', and may be replayed onto it.

    Where in its file a backup ends, nobody counts: a replay reads the file, and skips to the entry.
    """
    if end is None:
        return Position()
    found = Position(optime=str(end))
    if not identified:
        return found
    at = format_lsn(lsn_of(file_of(end.ts)))
    return found.model_copy(update={"start_lsn": at, "lsn": at, "timeline": TIMELINE})


def format_ts(ts: Timestamp) -> str:
    """`1764368417:3`, as mongorestore's --oplogLimit takes it."""
    return f"{ts.time}:{ts.inc}"


def parse_ts(text: str) -> Timestamp:
    """What `format_ts` wrote. ValueError."""
    seconds, _, increment = text.partition(":")
    return Timestamp(int(seconds), int(increment))
