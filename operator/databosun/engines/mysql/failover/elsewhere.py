"""Clients of MariaDB and MySQL at whatever address they stand, for a provider that moves them and is none itself (a
cloud)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from databosun.api.failover import GuardResult
from databosun.api.v1alpha1.database import EngineName
from databosun.domain.errors import DatabosunError
from databosun.engines.failover import Site, Spot, WriterSession, probe_error
from databosun.engines.mysql.connect import Endpoint, open_sql
from databosun.engines.mysql.connect import Session as Login
from databosun.engines.mysql.failover.facts import Place
from databosun.engines.mysql.failover.guards import probe_guard
from databosun.engines.mysql.failover.nodes import Nodes
from databosun.engines.mysql.failover.probe import Session, Tables, read_rows
from databosun.engines.mysql.faults import guarded


@dataclass(frozen=True, slots=True)
class MySQLWriters:
    """Of one run."""

    nodes: Nodes
    tables: Tables

    def lacking(self, spot: Spot) -> Sequence[GuardResult]:
        """What they may not do."""
        return [probe_guard(self.nodes, Place(spot.host, spot.port), self.tables)]

    def make(self, spot: Spot) -> None:
        """Schema and tables."""
        with self.nodes.open(Place(spot.host, spot.port)) as connection, guarded("making the probe's tables"):
            self.tables.make(connection)

    def remove(self, spot: Spot) -> None:
        """All of them."""
        with self.nodes.open(Place(spot.host, spot.port)) as connection, guarded("removing the probe's tables"):
            self.tables.remove(connection)

    def rows(self, spot: Spot, clients: Iterable[int]) -> Mapping[int, Collection[int]]:
        """What the server holds."""
        with self.nodes.open(Place(spot.host, spot.port)) as connection, guarded("reading the probe's rows back"):
            return read_rows(connection, self.tables, clients)

    def connect(self, spot: Spot, client: int, seconds: float) -> WriterSession:
        """One client. ProbeError."""
        login = Login(self.nodes.target, Endpoint(spot.host, spot.port, spot.address))
        try:
            connection = open_sql(login, read_only=False, seconds=seconds)
        except DatabosunError as fault:
            raise probe_error(fault) from fault
        connection._read_timeout = connection._write_timeout = seconds
        return Session(connection, self.tables, client, None)


def writers(engine: EngineName, site: Site) -> MySQLWriters:
    """Those of a site, whose server speaks as `engine` does."""
    database = site.probe.database.model_copy(update={"engine": engine})
    return MySQLWriters(Nodes(replace(site.probe, database=database)), Tables.of(site))
