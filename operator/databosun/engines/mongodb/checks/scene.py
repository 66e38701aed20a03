"""What checks have at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from databosun.api.drill import Check
from databosun.engines.mongodb.connect import Client
from databosun.engines.mongodb.namespaces import LEFT_DATABASES, Collection, wanted
from databosun.engines.mongodb.recovery.facts import Backup
from databosun.engines.mongodb.recovery.private import PrivateServer

_NOT_THE_USERS = LEFT_DATABASES | {"admin"}


@dataclass(frozen=True, slots=True)
class Scene:
    """The copy, the chain it came from (base first), and the instant that the age of data is measured against.

    `whole`: the copy is at the end of its backup, not at a time before it.
    """

    server: PrivateServer
    backups: tuple[Backup, ...]
    assumed_at: datetime | None
    pulse: Callable[[], None]
    whole: bool = True

    @property
    def backup(self) -> Backup:
        """The backup that was restored: the last of its chain."""
        return self.backups[-1]

    def databases(self, client: Client) -> tuple[str, ...]:
        """All but the server's own."""
        return tuple(sorted(set(client.list_database_names()) - _NOT_THE_USERS))

    def collections(self, client: Client) -> tuple[Collection, ...]:
        """Of all databases that a backup holds."""
        names = sorted(set(client.list_database_names()) - LEFT_DATABASES)
        return tuple(one for name in names for one in wanted(name, client[name].list_collections()))

    def database_of(self, client: Client, check: Check) -> str:
        """Where a check looks: as it says, else the only database. ValueError."""
        if check.database:
            return check.database
        found = self.databases(client)
        if len(found) != 1:
            msg = f"the copy has the databases {', '.join(found)}; say in `database` which one to look at"
            raise ValueError(msg)
        return found[0]
