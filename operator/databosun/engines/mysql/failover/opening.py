"""Which provider moves, or watches, the primaries of MariaDB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from databosun.api.failover import FailoverMode
from databosun.domain.errors import UserFault
from databosun.engines.failover import STATEFUL_SET, Failover, FailoverFault, FailoverProvider, Site, stateful_members
from databosun.engines.mysql.failover.nodes import Nodes, Place, members_of
from databosun.engines.mysql.failover.probe import Tables
from databosun.engines.mysql.failover.provider import MARIADB_REPLICATION, MariaProvider
from databosun.engines.mysql.failover.stateful import StatefulProvider


class MariaFailover:
    """Opens one."""

    providers: tuple[str, ...] = (MARIADB_REPLICATION, STATEFUL_SET)

    @contextmanager
    def open(self, site: Site, mode: FailoverMode) -> Iterator[FailoverProvider]:
        """UserFault(ProviderUnsupported)."""
        nodes, probe, tables = (
            Nodes(replace(site.probe, credentials=site.operator.login)), Nodes(site.probe), Tables.of(site)
        )  # fmt: skip
        if site.provider.provider == STATEFUL_SET:
            places = tuple(Place(*one) for one in stateful_members(site))
            ways = tuple(Place(host, site.probe.database.port) for host in site.probe.database.hosts)
            yield StatefulProvider(site, nodes, probe, tables, places, ways)
        elif site.provider.provider == MARIADB_REPLICATION:
            places = tuple(members_of(site.probe))
            yield MariaProvider(site, nodes, probe, tables, places, places)
        else:
            known = " or ".join(self.providers)
            message = f"MariaDB is failed over by provider {known} in this release, not by {site.provider.provider}"
            raise UserFault(FailoverFault.PROVIDER_UNSUPPORTED, message)


FAILOVER: Failover = MariaFailover()
