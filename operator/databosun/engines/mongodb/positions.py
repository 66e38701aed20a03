"""Where in the oplog a backup ends, as the next one must know it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from bson.timestamp import Timestamp

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


def format_ts(ts: Timestamp) -> str:
    """`1764368417:3`, as mongorestore's --oplogLimit takes it."""
    return f"{ts.time}:{ts.inc}"


def parse_ts(text: str) -> Timestamp:
    """What `format_ts` wrote. ValueError."""
    seconds, _, increment = text.partition(":")
    return Timestamp(int(seconds), int(increment))
