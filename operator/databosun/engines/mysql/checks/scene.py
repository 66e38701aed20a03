"""What checks have at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pymysql.connections import Connection

from databosun.api.drill import Check
from databosun.engines.mysql.connect import rows
from databosun.engines.mysql.recovery.facts import Backup
from databosun.engines.mysql.recovery.private import PrivateServer
from databosun.engines.mysql.server import SYSTEM_SCHEMAS


@dataclass(frozen=True, slots=True)
class Scene:
    """The copy, the chain it came from (base first), and the instant that the age of data is measured against.

    `replayed`: the log went on from the last backup, whose counts are those of the copy no more.
    """

    server: PrivateServer
    backups: tuple[Backup, ...]
    assumed_at: datetime | None
    pulse: Callable[[], None]
    replayed: bool = False

    @property
    def backup(self) -> Backup:
        """The backup that was restored, the last of its chain; of what went on from there nothing was counted."""
        last = self.backups[-1]
        return replace(last, objects={}, schema_hash=None) if self.replayed else last

    @property
    def all_of_it(self) -> bool:
        """Whether the copy holds what the full held, and nothing came after it."""
        return len(self.backups) == 1 and not self.replayed

    def schemas(self, connection: Connection[Any]) -> tuple[str, ...]:
        """All but the server's own."""
        found = rows(
            connection,
            "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN %s ORDER BY 1",
            (SYSTEM_SCHEMAS,),
        )
        return tuple(str(name) for (name,) in found)

    def schema_of(self, connection: Connection[Any], check: Check) -> str:
        """Where a check looks: as it says, else the only schema. ValueError."""
        if check.database:
            return check.database
        found = self.schemas(connection)
        if len(found) != 1:
            msg = f"the copy has the databases {', '.join(found)}; say in `database` which one to look at"
            raise ValueError(msg)
        return found[0]
