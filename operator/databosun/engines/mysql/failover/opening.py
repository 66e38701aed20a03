"""Which provider moves, or watches, the primaries of MariaDB and MySQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from databosun.api.failover import FailoverMode
from databosun.api.v1alpha1.database import EngineName
from databosun.domain.errors import UserFault
from databosun.engines.failover import STATEFUL_SET, FailoverFault, FailoverProvider, Site, stateful_members
from databosun.engines.mysql.failover.facts import Place
from databosun.engines.mysql.failover.group import GROUP_REPLICATION, GroupProvider
from databosun.engines.mysql.failover.nodes import Nodes, members_of
from databosun.engines.mysql.failover.probe import Tables
from databosun.engines.mysql.failover.provider import ReplicationProvider
from databosun.engines.mysql.failover.stateful import StatefulProvider
from databosun.engines.mysql.failover.words import MARIADB_REPLICATION, MYSQL_REPLICATION

PROVIDERS = {
    EngineName.MARIADB: (MARIADB_REPLICATION, STATEFUL_SET),
    EngineName.MYSQL: (MYSQL_REPLICATION, GROUP_REPLICATION, STATEFUL_SET),
}


class SqlFailover:
    """Opens one, of one of the two products."""

    def __init__(self, engine: EngineName) -> None:
        self._engine = engine
        self.providers: tuple[str, ...] = PROVIDERS[engine]

    @contextmanager
    def open(self, site: Site, mode: FailoverMode) -> Iterator[FailoverProvider]:
        """UserFault(ProviderUnsupported)."""
        name = site.provider.provider
        if name not in self.providers:
            known = " or ".join(self.providers)
            message = f"{self._engine} is failed over by provider {known} in this release, not by {name}"
            raise UserFault(FailoverFault.PROVIDER_UNSUPPORTED, message)
        nodes = Nodes(replace(site.probe, credentials=site.operator.login))
        probe, tables = Nodes(site.probe), Tables.of(site)
        if name == STATEFUL_SET:
            places = tuple(Place(*one) for one in stateful_members(site))
            ways = tuple(Place(host, site.probe.database.port) for host in site.probe.database.hosts)
            yield StatefulProvider(site, nodes, probe, tables, places, ways)
            return
        places = tuple(members_of(site.probe, name))
        if name == GROUP_REPLICATION:
            yield GroupProvider(site, nodes, probe, tables, places, places, mode=mode)
        else:
            yield ReplicationProvider(site, nodes, probe, tables, places, places)
