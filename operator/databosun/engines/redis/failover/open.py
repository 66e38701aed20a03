"""What moves masters of Redis and Valkey: which provider is whose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from databosun.api.failover import FailoverMode
from databosun.domain.errors import UserFault
from databosun.engines.failover import Failover, FailoverFault, FailoverProvider, Site
from databosun.engines.redis.failover.clusterlook import Cluster
from databosun.engines.redis.failover.clusterprovider import CLUSTER, ClusterProvider
from databosun.engines.redis.failover.nodes import Nodes, Place
from databosun.engines.redis.failover.probe import Keys
from databosun.engines.redis.failover.provider import SENTINEL, open_sentinel


class RedisFailover:
    """Opens them."""

    providers: tuple[str, ...] = (SENTINEL, CLUSTER)

    @contextmanager
    def open(self, site: Site, mode: FailoverMode) -> Iterator[FailoverProvider]:
        """UserFault(ProviderUnsupported) for another provider."""
        if site.provider.provider == CLUSTER:
            yield open_cluster(site)
        elif site.provider.provider == SENTINEL:
            yield open_sentinel(site, mode)
        else:
            known = " or ".join(self.providers)
            message = f"Redis is failed over by provider {known} in this release, not by {site.provider.provider}"
            raise UserFault(FailoverFault.PROVIDER_UNSUPPORTED, message)


def open_cluster(site: Site) -> ClusterProvider:
    """From the endpoints that are given, or else the hosts of the connection."""
    database = site.probe.database
    seeds = [Place.parse(one) for one in site.provider.endpoints]
    mover = Nodes(replace(site.probe, credentials=site.operator.login), site.pulse)
    cluster = Cluster(mover, seeds or [Place(host, database.port) for host in database.hosts])
    return ClusterProvider(site, cluster, mover, Nodes(site.probe, lambda: None), Keys.of(site, together=True))


FAILOVER: Failover = RedisFailover()
