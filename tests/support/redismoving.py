"""What yards of Redis whose master is moved have in common, whoever decides over it: the mover, its site, its probe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from databosun.api.failover import FailoverMode
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.engines.base import Credentials, Target
from databosun.engines.failover import FailoverProvider, Site
from databosun.engines.redis.failover import FAILOVER
from support.redisserver import PASSWORD, USER, Server

MOVER = "mover"
MOVER_PASSWORD = "m0ves: it"
TABLE = "databosun_probe"


def mover(grants: str) -> str:
    """The line of a configuration that makes the mover's login."""
    return f"user {MOVER} on #{sha256(MOVER_PASSWORD.encode()).hexdigest()} ~* &* -@all {grants}"


def described(port: int) -> DatabaseTarget:
    """The Database, reached at that port."""
    return DatabaseTarget(
        namespace="shop", name="cache", uid="0", engine=EngineName.REDIS, hosts=["127.0.0.1"], port=port,
        tls=TLSMode.DISABLE,
    )  # fmt: skip


@dataclass(kw_only=True)
class MovingYard(ABC):
    """Nodes are named as they are announced."""

    nodes: list[Server] = field(default_factory=list)

    @abstractmethod
    def site(self, **more: object) -> Site:
        """As the agent would be told."""

    def name(self, server: Server) -> str:
        """Of the member."""
        return f"127.0.0.1:{server.port}"

    def named(self, name: str) -> Server:
        """The server of a member."""
        return next(server for server in self.nodes if self.name(server) == name)

    @contextmanager
    def provider(
        self, mode: FailoverMode = FailoverMode.PLANNED_SWITCHOVER, **more: object
    ) -> Iterator[FailoverProvider]:
        """Opened."""
        with FAILOVER.open(self.site(**more), mode) as provider:
            yield provider


def site_of(target: DatabaseTarget, given: Mapping[str, object]) -> Site:
    """Where a test of an hour at most is done. `given`: what else a Site has, or what is otherwise here."""
    usual = {
        "probe": Target(target, Credentials(USER, PASSWORD)), "table": TABLE,
        "until": datetime.now(UTC) + timedelta(hours=1),
    }  # fmt: skip
    return Site(**{**usual, **given})  # type: ignore[arg-type]
