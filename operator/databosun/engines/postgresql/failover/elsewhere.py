"""Clients of PostgreSQL at whatever address it stands, for a provider that moves it and is none itself (a cloud)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from databosun.api.failover import GuardResult
from databosun.api.v1alpha1.database import EngineName
from databosun.engines.failover import Site, Spot, WriterSession
from databosun.engines.postgresql.connect import Connection, Endpoint
from databosun.engines.postgresql.failover.guards import table_guards
from databosun.engines.postgresql.failover.line import Line
from databosun.engines.postgresql.failover.probe import Clients, Session, Table


@dataclass(frozen=True, slots=True)
class PostgreSQLWriters:
    """Of one run."""

    clients: Clients

    def lacking(self, spot: Spot) -> Sequence[GuardResult]:
        """What they may not do."""
        clients = self.clients
        with self._open(spot, "looking at the probe's rights") as connection:
            return table_guards(connection, clients.dbname, clients.target.credentials.username)

    def make(self, spot: Spot) -> None:
        """Schema and table."""
        with self._open(spot, "making the probe's table") as connection:
            self.clients.table.make(connection)

    def remove(self, spot: Spot) -> None:
        """Both."""
        with self._open(spot, "removing the probe's table") as connection:
            self.clients.table.remove(connection)

    def rows(self, spot: Spot, clients: Iterable[int]) -> Mapping[int, Collection[int]]:
        """What the server holds."""
        with self._open(spot, "reading the probe's rows back") as connection:
            return self.clients.table.rows(connection, clients)

    def connect(self, spot: Spot, client: int, seconds: float) -> WriterSession:
        """One client. ProbeError."""
        clients = self.clients
        line = Line.open(clients.target, _endpoint(spot), clients.dbname, seconds)
        return Session(line, clients.table, client, None)

    def _open(self, spot: Spot, doing: str) -> AbstractContextManager[Connection]:
        return self.clients.administer(_endpoint(spot), f"{doing} at {spot.host}")


def _endpoint(spot: Spot) -> Endpoint:
    return Endpoint(spot.host, spot.port, spot.address)


def writers(engine: EngineName, site: Site) -> PostgreSQLWriters:
    """Those of a site."""
    return PostgreSQLWriters(Clients(site.probe, Table.of(site)))
