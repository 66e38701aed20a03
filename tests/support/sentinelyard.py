"""A master, two replicas and three Sentinels of real servers, with the logins that a failover test needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from databosun.api.failover import FailoverMode, ProviderTarget
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.domain.errors import WorldFault
from databosun.engines.base import Credentials, Target
from databosun.engines.failover import FailoverProvider, Operator, Site
from databosun.engines.redis.failover import FAILOVER
from databosun.engines.redis.failover.guards import MOVER_GRANTS
from databosun.engines.redis.failover.probe import GRANTS
from databosun.engines.redis.resp import Reply
from support.agentrun import Workplace
from support.failoverjob import RUN, FailoverJob
from support.redisserver import ADMIN, PASSWORD, USER, Server
from support.waiting import eventually

MOVER = "mover"
MOVER_PASSWORD = "m0ves: it"
TABLE = "databosun_probe"
MASTER = "mymaster"


@dataclass
class SentinelYard:
    """Nodes are named as Sentinel announces them."""

    nodes: list[Server] = field(default_factory=list)
    sentinels: list[Server] = field(default_factory=list)

    def start(self, *, replicas: int = 2, sentinels: int = 3) -> None:
        """Until the Sentinels know all nodes and each other."""
        settings = (
            f"user {MOVER} on #{sha256(MOVER_PASSWORD.encode()).hexdigest()} ~* &* -@all {MOVER_GRANTS}",
            f"masteruser {ADMIN}", f"masterauth {ADMIN}",
        )  # fmt: skip
        self.nodes = [self._node(settings) for _ in range(1 + replicas)]
        for replica in self.nodes[1:]:
            replica.follow(self.nodes[0])
        quorum = sentinels // 2 + 1
        watched = (
            f"sentinel monitor {MASTER} 127.0.0.1 {self.nodes[0].port} {quorum}",
            f"sentinel down-after-milliseconds {MASTER} 2000", f"sentinel failover-timeout {MASTER} 10000",
            f"sentinel auth-user {MASTER} {ADMIN}", f"sentinel auth-pass {MASTER} {ADMIN}",
            f"sentinel sentinel-user {ADMIN}", f"sentinel sentinel-pass {ADMIN}",
        )  # fmt: skip
        self.sentinels = [
            Server(settings=watched, sentinel=True, grants="+ping +info +sentinel") for _ in range(sentinels)
        ]
        for one in self.sentinels:
            eventually("the Sentinels know all", lambda one=one: self._knows(one, replicas, sentinels))  # type: ignore[misc]

    def remove(self) -> None:
        """End and delete all."""
        for server in (*self.sentinels, *self.nodes):
            server.remove()

    def name(self, server: Server) -> str:
        """Of the member."""
        return f"127.0.0.1:{server.port}"

    def named(self, name: str) -> Server:
        """The server of a member."""
        return next(server for server in self.nodes if self.name(server) == name)

    def site(self, **more: object) -> Site:
        """As the agent would be told."""
        endpoints = [f"127.0.0.1:{one.port}" for one in self.sentinels]
        described = DatabaseTarget(
            namespace="shop", name="cache", uid="0", engine=EngineName.REDIS, hosts=["127.0.0.1"],
            port=self.sentinels[0].port, tls=TLSMode.DISABLE,
        )  # fmt: skip
        given = {
            "probe": Target(described, Credentials(USER, PASSWORD)),
            "operator": Operator(Credentials(MOVER, MOVER_PASSWORD), Credentials(USER, PASSWORD)),
            "provider": ProviderTarget(provider="Sentinel", endpoints=endpoints, master_name=MASTER),
            "table": TABLE, "run": RUN, "until": datetime.now(UTC) + timedelta(hours=1), **more,
        }  # fmt: skip
        return Site(**given)  # type: ignore[arg-type]

    @contextmanager
    def provider(
        self, mode: FailoverMode = FailoverMode.PLANNED_SWITCHOVER, **more: object
    ) -> Iterator[FailoverProvider]:
        """Opened."""
        with FAILOVER.open(self.site(**more), mode) as provider:
            yield provider

    def job(self, folder: Path, mode: FailoverMode = FailoverMode.PLANNED_SWITCHOVER) -> FailoverJob:
        """A test of it, its pod's files in a folder."""
        secrets = {
            "database": {"username": USER, "password": PASSWORD},
            "failover": {
                "username": MOVER, "password": MOVER_PASSWORD, "sentinelUsername": USER, "sentinelPassword": PASSWORD
            },
        }  # fmt: skip
        site = self.site()
        return FailoverJob(Workplace(folder, secrets=secrets), site.probe.database, site.provider, mode)

    def leftovers(self) -> list[str]:
        """Keys of the probe on any node; who makes a node a replica ends its sessions, so it is asked until it says."""
        found = []
        for node in self.nodes:
            said: Reply = None
            while not isinstance(said, list):
                with suppress(WorldFault, OSError):
                    said = node.call("KEYS", f"{TABLE}:*")
            found += [f"{self.name(node)} {key!r}" for key in said]
        return found

    def _node(self, settings: tuple[str, ...]) -> Server:
        return Server(settings=settings, grants=GRANTS.format(table=TABLE))

    def _knows(self, sentinel: Server, replicas: int, sentinels: int) -> bool:
        said = sentinel.call("SENTINEL", "MASTERS")
        assert isinstance(said, list)
        assert isinstance(said[0], list)
        words = [word.decode() for word in said[0] if isinstance(word, bytes)]
        found = dict(zip(words[::2], words[1::2], strict=True))
        known = (found["num-slaves"], found["num-other-sentinels"])
        return known == (str(replicas), str(sentinels - 1)) and found["flags"] == "master"
