"""What checks have at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from databosun.api.drill import Check
from databosun.engines.redis.recovery.facts import Backup
from databosun.engines.redis.recovery.private import PrivateServer
from databosun.engines.redis.resp import Wire


@dataclass(frozen=True, slots=True)
class Scene:
    """The copy, the backup it came from, what was loaded, and the instant that the age of data is measured against.

    `refused`: what the server refused of the log, in words.
    """

    server: PrivateServer
    backup: Backup
    loaded: Mapping[int, tuple[int, int]]
    assumed_at: datetime | None
    pulse: Callable[[], None]
    refused: str = ""

    def connect(self, database: int = 0) -> Wire:
        """A session in that database."""
        wire = self.server.connect(self.pulse)
        try:
            wire.call("SELECT", database)
        except BaseException:
            wire.close()
            raise
        return wire

    def database_of(self, check: Check) -> int:
        """Which database a check looks into: the one it names, else 0. ValueError."""
        if check.database is None:
            return 0
        number = check.database.removeprefix("db")
        if not number.isdigit():
            msg = f"database is {check.database!r}; expected a number such as 0"
            raise ValueError(msg)
        return int(number)
